package dialect

import (
	"bytes"
	"encoding/base64"

	"github.com/go-json-experiment/json/jsontext"
)

// Base64 reads the base64 text of a JSON string (with its quotes) as llm.Media.Data wants it:
// standard alphabet, padded. It aliases v when v is that already, which is the usual case; the URL
// alphabet, missing padding and \/ cost one copy. Anything else is a Malformed fault for param.
func Base64(v []byte, param string) ([]byte, error) {
	if len(v) < 2 || v[0] != '"' {
		return nil, wrong(param, "base64 text")
	}
	s := v[1 : len(v)-1]
	if bytes.IndexByte(s, '\\') >= 0 {
		u, err := jsontext.AppendUnquote(nil, v)
		if err != nil {
			return nil, wrong(param, "base64 text")
		}
		s = u
	}
	return base64Text(s, param)
}

func base64Text(s []byte, param string) ([]byte, error) {
	body := bytes.TrimRight(s, "=")
	foreign := false
	for _, c := range body {
		switch k := base64Class[c]; k {
		case 0:
			return nil, wrong(param, "base64 text")
		case 2:
			foreign = true
		}
	}
	if len(body) == 0 || len(body)%4 == 1 || len(s)-len(body) > 2 {
		return nil, wrong(param, "base64 text")
	}
	if want := (len(body) + 3) / 4 * 4; !foreign && len(s) == want {
		return s, nil
	}
	out := make([]byte, 0, len(body)+3)
	for _, c := range body {
		switch c {
		case '-':
			c = '+'
		case '_':
			c = '/'
		}
		out = append(out, c)
	}
	for len(out)%4 != 0 {
		out = append(out, '=')
	}
	return out, nil
}

// base64Class is 1 for the standard alphabet, 2 for the URL alphabet's own characters.
var base64Class = func() (t [256]byte) {
	for c := range 256 {
		switch b := byte(c); {
		case b|0x20 >= 'a' && b|0x20 <= 'z', b >= '0' && b <= '9', b == '+', b == '/':
			t[c] = 1
		case b == '-', b == '_':
			t[c] = 2
		}
	}
	return t
}()

// DataURL cuts a JSON string (with its quotes) that is a base64 data URL into MIME type and data, as
// Base64 does. ok is false when it is not a data URL; a data URL that is not base64 is a fault.
func DataURL(v []byte, param string) (mime string, data []byte, ok bool, err error) {
	if len(v) < 7 || !bytes.EqualFold(v[:6], []byte(`"data:`)) {
		return "", nil, false, nil
	}
	s := v
	if head := s[:min(len(s), 256)]; bytes.IndexByte(head, '\\') >= 0 {
		u, uerr := jsontext.AppendUnquote(nil, v)
		if uerr != nil {
			return "", nil, true, wrong(param, "a base64 data URL")
		}
		s = append(append([]byte{'"'}, u...), '"')
	}
	comma := bytes.IndexByte(s[:min(len(s), 256)], ',')
	if comma < 0 {
		return "", nil, true, wrong(param, "a base64 data URL")
	}
	head, isBase64 := bytes.CutSuffix(s[6:comma], []byte(";base64"))
	if !isBase64 {
		return "", nil, true, wrong(param, "a base64 data URL")
	}
	if i := bytes.IndexByte(head, ';'); i >= 0 { // ;charset=...
		head = head[:i]
	}
	rest := s[comma:] // the comma stands where Base64 expects the quote
	quoted := rest[1 : len(rest)-1]
	if bytes.IndexByte(quoted, '\\') >= 0 {
		u, uerr := jsontext.AppendUnquote(nil, append([]byte{'"'}, rest[1:]...))
		if uerr != nil {
			return "", nil, true, wrong(param, "a base64 data URL")
		}
		quoted = u
	}
	data, err = base64Text(quoted, param)
	return string(head), data, true, err
}

// DecodedLen is the number of bytes that base64 data as in llm.Media.Data stands for.
func DecodedLen(data []byte) int {
	n := base64.StdEncoding.DecodedLen(len(data))
	for i := len(data) - 1; i >= 0 && data[i] == '='; i-- {
		n--
	}
	return n
}
