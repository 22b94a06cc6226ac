//go:build nogeodata

package data

// Embedded is the table in this binary: none, because it was built with the tag nogeodata.
func Embedded() *Table { return nil }

// Attribution is what the licence of the embedded data asks to be shown with it: nothing here.
func Attribution() string { return "" }
