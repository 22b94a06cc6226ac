package convtest

import (
	"bytes"
	"fmt"
	"reflect"
	"strconv"
	"strings"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/causeway-mesh/causeway/relay/llm"
)

// Dumpable is what Dump shows.
type Dumpable interface {
	*llm.Request | *llm.Response | *llm.Event
}

// Dump shows a canonical value as text: one line a field, fields without a value left out.
func Dump[T Dumpable](v T) string {
	var b strings.Builder
	dump(&b, reflect.ValueOf(v).Elem(), 0)
	return b.String()
}

var (
	rawType   = reflect.TypeFor[llm.Raw]()
	bytesType = reflect.TypeFor[[]byte]()
	stringer  = reflect.TypeFor[fmt.Stringer]()
	errorType = reflect.TypeFor[error]()
)

func dump(b *strings.Builder, v reflect.Value, depth int) {
	for i := range v.NumField() {
		f := v.Field(i)
		if name := v.Type().Field(i).Name; !f.IsZero() || name == "Kind" || name == "Role" {
			field(b, name, f, depth)
		}
	}
}

func field(b *strings.Builder, name string, v reflect.Value, depth int) {
	pad := strings.Repeat("  ", depth)
	if s, ok := leaf(v); ok {
		fmt.Fprintf(b, "%s%s: %s\n", pad, name, s)
		return
	}
	switch v.Kind() {
	case reflect.Pointer:
		field(b, name, v.Elem(), depth)
	case reflect.Slice:
		for i := range v.Len() {
			field(b, name+"["+strconv.Itoa(i)+"]", v.Index(i), depth)
		}
	case reflect.Struct:
		fmt.Fprintf(b, "%s%s:\n", pad, name)
		dump(b, v, depth+1)
	}
}

// leaf shows what fits on one line.
func leaf(v reflect.Value) (string, bool) {
	t := v.Type()
	switch {
	case t == rawType:
		return short(string(compactLine(v.Bytes()))), true
	case t == bytesType:
		return short(string(v.Bytes())), true
	case t == errorType:
		return v.Elem().MethodByName("Error").Call(nil)[0].String(), true
	case t.Kind() == reflect.Uint8 && t.Implements(stringer):
		return v.MethodByName("String").Call(nil)[0].String(), true
	case t.Kind() == reflect.Struct && strings.HasPrefix(t.Name(), "Opt["):
		return leaf(v.Field(0))
	case t == reflect.TypeFor[llm.Member]():
		return v.Field(0).String() + "=" + short(string(compactLine(v.Field(1).Bytes()))), true
	case t == reflect.TypeFor[llm.Pair]():
		return v.Field(0).String() + "=" + strconv.Quote(v.Field(1).String()), true
	}
	switch v.Kind() {
	case reflect.String:
		if t != reflect.TypeFor[string]() {
			return v.String(), true
		}
		return short(strconv.Quote(v.String())), true
	case reflect.Bool:
		return strconv.FormatBool(v.Bool()), true
	case reflect.Int, reflect.Int64:
		return strconv.FormatInt(v.Int(), 10), true
	case reflect.Uint8:
		return strconv.FormatUint(v.Uint(), 10), true
	case reflect.Float64:
		return strconv.FormatFloat(v.Float(), 'g', -1, 64), true
	}
	return "", false
}

func short(s string) string {
	if len(s) <= 400 {
		return s
	}
	return s[:160] + "…(" + strconv.Itoa(len(s)) + " bytes)…" + s[len(s)-40:]
}

func compactLine(b []byte) []byte {
	v := jsontext.Value(bytes.Clone(b))
	if v.Compact() != nil {
		return b
	}
	return v
}

// Indent shows JSON over several lines, members in their order; anything else as it is.
func Indent(b []byte) string {
	v := jsontext.Value(bytes.Clone(b))
	if v.Indent(jsontext.WithIndent("  ")) != nil {
		return string(b)
	}
	return string(v)
}
