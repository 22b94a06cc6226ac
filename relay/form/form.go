// Package form finds fields of a multipart/form-data body (RFC 7578) without decoding it, so that one
// value can be read and replaced while every other byte stays. It is strict where parsers differ: a
// body that two of them could read differently is refused, or a field that policy has seen would not
// be the one that the provider sees.
package form

import (
	"bytes"
	"mime"
	"strings"

	"github.com/causeway-mesh/causeway/relay/fault"
	"github.com/causeway-mesh/causeway/relay/splice"
)

const (
	maxParts  = 128
	maxHeader = 4 << 10
	maxValue  = 1 << 10 // of a field that is read
)

// Is reports whether a Content-Type says multipart/form-data.
func Is(contentType string) bool {
	t, _, _ := strings.Cut(contentType, ";")
	return strings.EqualFold(strings.TrimSpace(t), "multipart/form-data")
}

// Pick scans a whole body and notes where the values of the wanted fields are; out[i] belongs to
// want[i] and stays empty when the field is absent. The error is a Malformed fault that never quotes a
// value.
func Pick(contentType string, body []byte, want []string, out []splice.Span) error {
	_, params, err := mime.ParseMediaType(contentType)
	boundary := params["boundary"]
	// Extended and escaped parameters are read differently too.
	if err != nil || strings.ContainsAny(contentType, `*\`) || len(boundary) == 0 || len(boundary) > 70 || strings.Trim(boundary, boundaryChars) != "" {
		return malformed("", "the content type names no usable boundary")
	}
	mark := []byte("--" + boundary)
	if !bytes.HasPrefix(body, mark) {
		return malformed("", "the body does not begin with its boundary")
	}
	seen := make([]bool, len(want))
	at := len(mark)
	for range maxParts {
		rest := body[at:]
		if last, ok := bytes.CutPrefix(rest, []byte("--")); ok {
			if len(last) > 0 && string(last) != "\r\n" {
				return malformed("", "bytes follow the last boundary")
			}
			return nil
		}
		if !bytes.HasPrefix(rest, crlf) {
			return malformed("", "a boundary is not alone on its line")
		}
		// From the line end that closes the boundary, so that a part without headers is seen too.
		end := bytes.Index(rest[:min(len(rest), maxHeader)], blank)
		if end < 0 {
			return malformed("", "a part's header does not end within 4 KiB")
		}
		name, file, err := header(rest[len(crlf) : end+len(crlf)])
		if err != nil {
			return err
		}
		from := at + end + len(blank)
		n := bytes.Index(body[from:], mark)
		if n < len(crlf) || !bytes.HasSuffix(body[from:from+n], crlf) {
			return malformed(name, "a part does not end in a boundary on a line of its own")
		}
		at = from + n + len(mark)
		for i, w := range want {
			if !alike(name, w) {
				continue
			}
			value := splice.Span{Start: from, End: from + n - len(crlf)}
			switch {
			case name != w || file:
				return malformed(w, "the field is written in a way that servers read differently; send it as a plain field with exactly that name")
			case seen[i]:
				return malformed(w, "the field is given twice")
			case value.Len() > maxValue || !plain(value.Of(body)):
				return malformed(w, "the value is not plain text of at most 1 KiB")
			}
			seen[i], out[i] = true, value
		}
	}
	return malformed("", "more than 128 parts")
}

const boundaryChars = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789'()+_,-./:=?"

var (
	crlf  = []byte("\r\n")
	blank = []byte("\r\n\r\n")
)

// header reads the header lines of a part, each with its line end. file reports what makes a value
// something else than the plain text that stands there.
func header(lines []byte) (name string, file bool, err error) {
	found := false
	for len(lines) > 0 {
		i := bytes.Index(lines, crlf)
		line := lines[:i]
		lines = lines[i+len(crlf):]
		key, value, ok := bytes.Cut(line, []byte(":"))
		if !ok || len(key) == 0 || key[0] <= ' ' || key[len(key)-1] <= ' ' || controls(line) {
			return "", false, malformed("", "a part's header is malformed")
		}
		switch strings.ToLower(string(key)) {
		case "content-disposition":
			if found {
				return "", false, malformed("", "a part has two dispositions")
			}
			found = true
			var isFile bool
			if name, isFile, err = disposition(strings.TrimSpace(string(value))); err != nil {
				return "", false, err
			}
			file = file || isFile
		case "content-type":
			t, params, perr := mime.ParseMediaType(string(value))
			set := params["charset"]
			file = file || perr != nil || t != "text/plain" || set != "" && !strings.EqualFold(set, "utf-8") && !strings.EqualFold(set, "us-ascii")
		case "content-length":
		default: // Content-Transfer-Encoding above all: the value would be decoded
			file = true
		}
	}
	if !found || name == "" {
		return "", false, malformed("", "a part has no name")
	}
	return name, file, nil
}

// disposition reads `form-data; name="x"; filename="y"`. Parameters of other kinds of quoting, which
// servers read differently, are refused.
func disposition(s string) (name string, file bool, err error) {
	bad := malformed("", "a part's disposition is malformed; names and file names must hold no backslash or quote")
	kind, rest, _ := strings.Cut(s, ";")
	if !strings.EqualFold(strings.TrimSpace(kind), "form-data") || strings.Contains(s, `\`) {
		return "", false, bad
	}
	for rest = strings.TrimSpace(rest); rest != ""; {
		key, after, ok := strings.Cut(rest, "=")
		if !ok {
			return "", false, bad
		}
		var value string
		if q, quoted := strings.CutPrefix(after, `"`); quoted {
			if value, after, ok = strings.Cut(q, `"`); !ok {
				return "", false, bad
			}
			after = strings.TrimSpace(after)
			if after != "" && after[0] != ';' {
				return "", false, bad
			}
			after = strings.TrimPrefix(after, ";")
		} else {
			value, after, _ = strings.Cut(after, ";")
			if value = strings.TrimSpace(value); strings.ContainsAny(value, "\" \t") {
				return "", false, bad
			}
		}
		switch key = strings.ToLower(strings.TrimSpace(key)); {
		case key == "name":
			if name != "" || value == "" {
				return "", false, bad
			}
			name = value
		case strings.HasPrefix(key, "filename"):
			file = true
		default: // name* among them
			return "", false, bad
		}
		rest = strings.TrimSpace(after)
	}
	return name, file, nil
}

// alike reports whether some server could take name for want: other case, spaces, escapes, brackets.
func alike(name, want string) bool {
	if name == want {
		return true
	}
	var b strings.Builder
	for i := 0; i < len(name); i++ {
		c := name[i]
		switch {
		case c == '%' && i+2 < len(name):
			h, ok := unhex(name[i+1 : i+3])
			if ok {
				c, i = h, i+2
			}
		case c == '[' || c == '.':
			i = len(name)
			continue
		}
		if c > ' ' && c != '\'' && c != 0x7f {
			b.WriteByte(c)
		}
	}
	return strings.EqualFold(b.String(), want)
}

func unhex(s string) (byte, bool) {
	v := byte(0)
	for i := range len(s) {
		c := s[i]
		switch {
		case '0' <= c && c <= '9':
			c -= '0'
		case 'a' <= c|0x20 && c|0x20 <= 'f':
			c = c | 0x20 - 'a' + 10
		default:
			return 0, false
		}
		v = v<<4 | c
	}
	return v, true
}

// plain reports whether a value means the same to every server: printable ASCII, no space at its ends.
func plain(v []byte) bool {
	for _, c := range v {
		if c < ' ' || c > '~' {
			return false
		}
	}
	return len(v) > 0 && v[0] != ' ' && v[len(v)-1] != ' '
}

func controls(line []byte) bool {
	for _, c := range line {
		if c < ' ' && c != '\t' || c == 0x7f {
			return true
		}
	}
	return false
}

func malformed(param, why string) *fault.Error {
	f := fault.New(fault.Malformed, "multipart body: %s", why)
	if f.Param = param; param != "" {
		f.Message = param + ": " + f.Message
	}
	return f
}
