package command

import (
	"fmt"
	"time"
)

// Duration is a time.Duration that reads and writes as text ("5s", "24h") in JSON and YAML.
type Duration time.Duration

// D converts to the standard type.
func (d Duration) D() time.Duration { return time.Duration(d) }

// MarshalText writes the standard form.
func (d Duration) MarshalText() ([]byte, error) { return []byte(time.Duration(d).String()), nil }

// UnmarshalText reads time.ParseDuration's form, with "d" for days as a whole number ("400d").
func (d *Duration) UnmarshalText(b []byte) error {
	v, err := ParseDuration(string(b))
	*d = Duration(v)
	return err
}

// ParseDuration reads "90s", "24h" or "400d". Negative values are refused.
func ParseDuration(s string) (time.Duration, error) {
	var days int64
	if n, err := fmt.Sscanf(s, "%dd", &days); n == 1 && err == nil && s == fmt.Sprintf("%dd", days) && days >= 0 && days < 36500 {
		return time.Duration(days) * 24 * time.Hour, nil
	}
	v, err := time.ParseDuration(s)
	if err != nil || v < 0 {
		return 0, fmt.Errorf("%q is not a duration such as 5s, 24h or 400d", s)
	}
	return v, nil
}
