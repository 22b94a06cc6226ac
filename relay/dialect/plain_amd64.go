package dialect

// plainRun counts the bytes at the start of b that a JSON string holds as they are: printable ASCII
// but for quote and backslash. It looks at whole blocks only, so it may stop up to fifteen bytes short.
//
//go:noescape
func plainRun(b []byte) int
