package manifest

import (
	"errors"
	"fmt"
	"strings"
)

// MinSecret is the least length of a key's secret outside dev, in bytes.
const MinSecret = 24

// Sources is where the references of a file are resolved: by the caller, on its own machine.
type Sources struct {
	Env      func(name string) (string, bool)
	ReadFile func(path string) ([]byte, error)
	Dev      bool // literal and short secrets are fine
}

// Resolve replaces every "env:NAME" and "file:PATH" by what it refers to. One trailing line end of a
// file is dropped. The error is Problems; it never shows a value. After an error d is unchanged.
func (d *Document) Resolve(from Sources) error {
	r := &resolver{from: from}
	providers, keys := append(d.Providers[:0:0], d.Providers...), append(d.Keys[:0:0], d.Keys...)
	for i := range providers {
		secrets := append(providers[i].Auth.Secrets[:0:0], providers[i].Auth.Secrets...)
		for j := range secrets {
			path := indexed(indexed("providers", i)+".auth.secrets", j) + ".value"
			secrets[j].Value = r.value(path, secrets[j].Value)
		}
		providers[i].Auth.Secrets = secrets
	}
	owner := make(map[string]string, len(keys))
	for i := range keys {
		path := indexed("keys", i) + ".secret"
		k := &keys[i]
		k.Secret = r.value(path, k.Secret)
		if k.Secret == "" {
			continue
		}
		if len(k.Secret) < MinSecret && !from.Dev {
			r.add(path, fmt.Sprintf("use at least %d, as `openssl rand -hex 24` makes", MinSecret), "the secret has %d characters", len(k.Secret))
		}
		if other, twice := owner[k.Secret]; twice {
			r.add(path, "give each key its own", "the secret is the same as that of key %q", other)
		}
		owner[k.Secret] = k.ID
	}
	if err := d.place(r.problems).err(); err != nil {
		return err
	}
	if d.Providers != nil {
		d.Providers = providers
	}
	if d.Keys != nil {
		d.Keys = keys
	}
	return nil
}

type resolver struct {
	from Sources
	checker
}

func (r *resolver) value(path, ref string) string {
	if name, ok := strings.CutPrefix(ref, "env:"); ok {
		v, set := r.from.Env(name)
		if !set || v == "" {
			r.add(path, "set it before running this command", "the environment variable %s is not set", clip(name))
		}
		return r.header(path, v)
	}
	if name, ok := strings.CutPrefix(ref, "file:"); ok {
		b, err := r.from.ReadFile(name)
		if err != nil {
			r.add(path, "", "cannot read the file: %v", err)
			return ""
		}
		v := strings.TrimSuffix(strings.TrimSuffix(string(b), "\n"), "\r")
		if v == "" {
			r.add(path, "put the secret into it", "the file %s is empty", clip(name))
		}
		return r.header(path, v)
	}
	if ref != "" && !r.from.Dev {
		r.add(path, "write \"env:NAME\" or \"file:PATH\"", "a literal secret is accepted under `causeway dev` only")
	}
	return r.header(path, ref)
}

// header refuses what no HTTP header can carry, before it becomes a puzzling upstream error.
func (r *resolver) header(path, v string) string {
	if strings.ContainsFunc(v, func(c rune) bool { return c <= ' ' || c >= 0x7f }) {
		r.add(path, "remove it", "the secret holds a space, a line end or a character that is not ASCII")
	}
	return v
}

// AsProblems unwraps the error of Parse, References and Resolve.
func AsProblems(err error) (Problems, bool) {
	return errors.AsType[Problems](err)
}
