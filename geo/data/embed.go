//go:build !nogeodata

package data

import (
	_ "embed"
	"sync"
)

//go:embed country.table
var embedded string

var open = sync.OnceValue(func() *Table {
	t, err := Open(embedded)
	if err != nil {
		panic(err) // the file is committed and a test reads it whole
	}
	return t
})

// Embedded is the table in this binary, nil when it was built with the tag nogeodata.
func Embedded() *Table { return open() }

//go:embed ATTRIBUTION
var attribution string

// Attribution is what the licence of the embedded data asks to be shown with it, "" without data.
func Attribution() string { return attribution }
