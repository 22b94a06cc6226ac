package form

import (
	"bytes"
	"errors"
	"io"
	"mime/multipart"
	"strings"
	"testing"

	"github.com/causeway-mesh/causeway/relay/fault"
	"github.com/causeway-mesh/causeway/relay/splice"
)

const typeOf = "multipart/form-data; boundary=XyZ"

// lines joins lines as a form has them.
func lines(l ...string) []byte { return []byte(strings.Join(l, "\r\n")) }

func field(header, value string) []byte {
	return lines("--XyZ", header, "", value, "--XyZ--", "")
}

func TestPickFindsAndSplices(t *testing.T) {
	var b bytes.Buffer
	w := multipart.NewWriter(&b)
	f, _ := w.CreateFormFile("file", "a.mp3")
	_, _ = f.Write([]byte("\x00\xff--not a boundary\r\n\r\nmodel\r\n"))
	_ = w.WriteField("model", "whisper-1")
	_ = w.WriteField("prompt", "name=\"model\"\r\n\r\nother")
	_ = w.WriteField("timestamp_granularities[]", "word")
	_ = w.WriteField("timestamp_granularities[]", "segment")
	_ = w.Close()
	var at [2]splice.Span
	if err := Pick(w.FormDataContentType(), b.Bytes(), []string{"model", "stream"}, at[:]); err != nil {
		t.Fatal(err)
	}
	if string(at[0].Of(b.Bytes())) != "whisper-1" || !at[1].Empty() {
		t.Errorf("found %q and %q", at[0].Of(b.Bytes()), at[1].Of(b.Bytes()))
	}
	changed := splice.Apply(b.Bytes(), []splice.Edit{{Span: at[0], Text: []byte("other")}})
	if want := bytes.Replace(b.Bytes(), []byte("whisper-1"), []byte("other"), 1); !bytes.Equal(changed, want) {
		t.Error("a splice changed more than the value")
	}
}

// Every case is one that some server reads as another form than a second one does.
func TestPickRefusesWhatServersReadDifferently(t *testing.T) {
	named := `Content-Disposition: form-data; name="model"`
	for name, c := range map[string]struct {
		contentType string
		body        []byte
	}{
		"twice":                {typeOf, lines("--XyZ", named, "", "a", "--XyZ", named, "", "b", "--XyZ--")},
		"other case":           {typeOf, field(`Content-Disposition: form-data; name="Model"`, "a")},
		"escaped name":         {typeOf, field(`Content-Disposition: form-data; name="mo%64el"`, "a")},
		"backslash in a name":  {typeOf, field(`Content-Disposition: form-data; name="mo\del"`, "a")},
		"array":                {typeOf, field(`Content-Disposition: form-data; name="model[]"`, "a")},
		"space":                {typeOf, field(`Content-Disposition: form-data; name=" model"`, "a")},
		"extended name":        {typeOf, field(`Content-Disposition: form-data; name="x"; name*=utf-8''model`, "a")},
		"two names":            {typeOf, field(`Content-Disposition: form-data; name="x"; name="model"`, "a")},
		"quote in a file name": {typeOf, field(`Content-Disposition: form-data; filename="\"; name="x"; y="; name="model"`, "a")},
		"single quotes":        {typeOf, field(`Content-Disposition: form-data; name='model'`, "a")},
		"two dispositions":     {typeOf, field("Content-Disposition: form-data; name=\"x\"\r\n"+named, "a")},
		"a file":               {typeOf, field(named+`; filename="m"`, "a")},
		"coded":                {typeOf, field(named+"\r\nContent-Transfer-Encoding: base64", "Z3B0")},
		"other charset":        {typeOf, field(named+"\r\nContent-Type: text/plain; charset=utf-16", "a")},
		"folded":               {typeOf, field("Content-Disposition: form-data;\r\n name=\"model\"", "a")},
		"space before colon":   {typeOf, field(`Content-Disposition : form-data; name="model"`, "a")},
		"bare newlines":        {typeOf, []byte("--XyZ\n" + named + "\n\na\n--XyZ--\n")},
		"newline in a header":  {typeOf, field(named+"\nx: y", "a")},
		"inner boundary":       {typeOf, field(`Content-Disposition: form-data; name="x"`, "a\n--XyZ\n"+named+"\n\nb")},
		"longer boundary":      {typeOf, lines("--XyZ", `Content-Disposition: form-data; name="x"`, "", "a", "--XyZz", named, "", "b", "--XyZ--")},
		"preamble":             {typeOf, append([]byte("hello\r\n"), field(named, "a")...)},
		"epilogue":             {typeOf, append(field(named, "a"), "--XyZ"...)},
		"no end":               {typeOf, lines("--XyZ", named, "", "a")},
		"no name":              {typeOf, field("Content-Disposition: form-data", "a")},
		"no header":            {typeOf, lines("--XyZ", "", "a", "--XyZ--")},
		"line end in value":    {typeOf, field(named, "a\r\nb")},
		"spaces round value":   {typeOf, field(named, " a")},
		"empty":                {typeOf, field(named, "")},
		"long value":           {typeOf, field(named, strings.Repeat("a", maxValue+1))},
		"long header":          {typeOf, field(named+"\r\nContent-Length: "+strings.Repeat("1", maxHeader), "a")},
		"many parts":           {typeOf, append(bytes.Repeat(lines("--XyZ", `Content-Disposition: form-data; name="x"`, "", "a", ""), maxParts), field(named, "a")...)},
		"no boundary":          {"multipart/form-data", field(named, "a")},
		"two boundaries":       {typeOf + "; boundary=abc", field(named, "a")},
		"extended boundary":    {typeOf + "; boundary*=utf-8''abc", field(named, "a")},
		"odd boundary":         {`multipart/form-data; boundary="a b"`, lines("--a b", named, "", "a", "--a b--")},
		"nothing":              {typeOf, nil},
	} {
		var at [1]splice.Span
		err := Pick(c.contentType, c.body, []string{"model"}, at[:])
		f, ok := errors.AsType[*fault.Error](err)
		if !ok || f.Kind != fault.Malformed {
			t.Errorf("%s: %v, model %q", name, err, at[0].Of(c.body))
		}
	}
}

func TestPickReadsWhatClientsSend(t *testing.T) {
	named := `Content-Disposition: form-data; name="model"`
	for name, body := range map[string][]byte{
		"as libraries write it": field(named, "a"),
		"without the last line": bytes.TrimSuffix(field(named, "a"), crlf),
		"bare name":             field("content-disposition: form-data; name=model", "a"),
		"text type":             field(named+"\r\nContent-Type: text/plain; charset=UTF-8", "a"),
		"length":                field(named+"\r\nContent-Length: 1", "a"),
		"after a file":          lines("--XyZ", `Content-Disposition: form-data; name="file"; filename="a;b.png"; filename*=utf-8''a%3Bb.png`, "Content-Type: image/png", "", "\x89PNG\r\n\x1a\n", "--XyZ", named, "", "a", "--XyZ--", ""),
	} {
		var at [1]splice.Span
		if err := Pick(typeOf, body, []string{"model"}, at[:]); err != nil || string(at[0].Of(body)) != "a" {
			t.Errorf("%s: %v, model %q", name, err, at[0].Of(body))
		}
	}
}

// FuzzPick holds the finder to the library's parser: what it accepts, the library reads as a form with
// exactly that one field.
func FuzzPick(f *testing.F) {
	f.Add(field(`Content-Disposition: form-data; name="model"`, "a"))
	f.Add(lines("--XyZ", `Content-Disposition: form-data; name="x"; filename="y"`, "", "\x00", "--XyZ", `Content-Disposition: form-data; name="model"`, "", "gpt", "--XyZ--"))
	f.Add(field("Content-Disposition: form-data; name=x", ""))
	f.Fuzz(func(t *testing.T, body []byte) {
		var at [1]splice.Span
		if Pick(typeOf, body, []string{"model"}, at[:]) != nil {
			return
		}
		var got []string
		r := multipart.NewReader(bytes.NewReader(body), "XyZ")
		for {
			p, err := r.NextRawPart()
			if errors.Is(err, io.EOF) {
				break
			}
			if err != nil {
				t.Fatalf("the library refuses what was accepted: %v\n%q", err, body)
			}
			v, err := io.ReadAll(p)
			if err != nil {
				t.Fatalf("%v\n%q", err, body)
			}
			if p.FormName() == "model" {
				got = append(got, string(v))
			}
		}
		switch {
		case at[0].Empty() && len(got) > 0:
			t.Fatalf("the library sees model %q, we none\n%q", got, body)
		case !at[0].Empty() && (len(got) != 1 || got[0] != string(at[0].Of(body))):
			t.Fatalf("the library sees model %q, we %q\n%q", got, at[0].Of(body), body)
		}
	})
}
