package llm

// Opt is a value that may be not stated, where that differs from the zero value.
type Opt[T comparable] struct {
	V   T
	Set bool
}

// Some is a stated value.
func Some[T comparable](v T) Opt[T] { return Opt[T]{v, true} }

// Or gives the value, or v when none is stated.
func (o Opt[T]) Or(v T) T {
	if o.Set {
		return o.V
	}
	return v
}

// Is reports whether v is stated.
func (o Opt[T]) Is(v T) bool { return o.Set && o.V == v }

// Raw is one JSON value exactly as its author wrote it. It may alias the body it was read from, so
// it is never written to.
type Raw []byte

// Member is a member of a JSON object that the canonical model has no place for.
type Member struct {
	Name  string
	Value Raw
}

// Extra holds such members in their order. They are written again only in the dialect they came
// from; every other encoder reports each one as a loss (dialect.Losses.Extra).
type Extra []Member

// Get gives the value of the named member, or nil.
func (e Extra) Get(name string) Raw {
	for i := range e {
		if e[i].Name == name {
			return e[i].Value
		}
	}
	return nil
}

// Pair is one entry of an ordered string table.
type Pair struct{ Key, Value string }
