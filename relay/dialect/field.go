package dialect

import (
	"math"
	"strconv"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/causeway-mesh/causeway/relay/fault"
)

// The readers below take one JSON value as Pick found it; an empty one (member absent) and null
// both mean "not stated". param names the member in the fault.

// Text reads a string.
func Text(v []byte, param string) (string, error) {
	if unset(v) {
		return "", nil
	}
	if v[0] != '"' {
		return "", wrong(param, "a string")
	}
	return Unquote(v), nil
}

// Bool reads true or false.
func Bool(v []byte, param string) (bool, error) {
	if unset(v) {
		return false, nil
	}
	switch v[0] {
	case 't':
		return true, nil
	case 'f':
		return false, nil
	}
	return false, wrong(param, "true or false")
}

// Whole reads a whole number of at least least; 0 when not stated. Exponents and a zero fraction
// are accepted, as the vendors' parsers do.
func Whole(v []byte, param string, least int64) (int64, error) {
	if unset(v) {
		return 0, nil
	}
	n, ok := Int(v)
	if !ok || n < least {
		return 0, wrong(param, "a whole number of at least "+strconv.FormatInt(least, 10))
	}
	return n, nil
}

func unset(v []byte) bool { return len(v) == 0 || v[0] == 'n' }

func wrong(param, want string) error {
	f := fault.New(fault.Malformed, "%s must be %s", param, want)
	f.Param = param
	return f
}

// Unquote gives the text of a valid JSON string; it allocates once.
func Unquote(v []byte) string {
	for _, c := range v {
		if c == '\\' {
			b, _ := jsontext.AppendUnquote(nil, v)
			return string(b)
		}
	}
	if len(v) < 2 {
		return ""
	}
	return string(v[1 : len(v)-1])
}

// Int reads a JSON number that is whole; it does not allocate for plain digits.
func Int(v []byte) (int64, bool) {
	if len(v) == 0 || v[0] != '-' && v[0]-'0' > 9 {
		return 0, false
	}
	var n int64
	for i, c := range v {
		d := int64(c) - '0'
		if i >= 18 || d < 0 || d > 9 {
			f, err := strconv.ParseFloat(string(v), 64)
			if err != nil || f != math.Trunc(f) || math.Abs(f) > 1<<53 {
				return 0, false
			}
			return int64(f), true
		}
		n = n*10 + d
	}
	return n, true
}

// Count reads a token count of a provider; anything but a whole number from 0 up counts as 0.
func Count(v []byte) int64 {
	n, ok := Int(v)
	if !ok || n < 0 {
		return 0
	}
	return n
}

// Filled reports whether v is a value that says something: not null, "", [], {} or absent.
func Filled(v []byte) bool {
	if unset(v) {
		return false
	}
	switch v[0] {
	case '"':
		return len(v) > 2
	case '[', '{':
		for _, c := range v[1 : len(v)-1] {
			if c > ' ' {
				return true
			}
		}
		return false
	}
	return true
}
