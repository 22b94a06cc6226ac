// Package geo knows where things are and which way to go: countries and sets of them, regions,
// where an address is, how far two places are apart, and Choose, which puts the possible routes of
// a request in order with a reason for each. Everything here is pure but for Locator, which reads
// database files; nothing here imports any other package of ours except geo/data.
package geo

// RegionID names a region, like "us-west".
type RegionID string

// Region is a place where nodes stand. A node's country comes only from its region.
type Region struct {
	ID       RegionID
	Country  Country
	Lat, Lon float64 // degrees, north and east positive
	Zones    []string
}
