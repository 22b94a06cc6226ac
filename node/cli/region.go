package cli

import (
	"strconv"

	"github.com/spf13/cobra"

	"github.com/causeway-mesh/causeway/coordinator/state"
)

func (a *app) region() *cobra.Command {
	n := &noun[state.Region]{
		one: "region", many: "regions", short: "Where nodes stand: a node's country is its region's",
		example: "  causeway region create ap-south --country SG --lat 1.35 --lon 103.8",
		head:    []string{"ID", "COUNTRY", "LAT", "LON", "ZONES"},
		row: func(r state.Region) []string {
			return []string{r.ID, r.Country, strconv.FormatFloat(r.Lat, 'f', -1, 64), strconv.FormatFloat(r.Lon, 'f', -1, 64), join(r.Zones)}
		},
		id:    func(v state.Region) string { return v.ID },
		setID: func(v *state.Region, id string) { v.ID = or(v.ID, id) },
		fields: []field[state.Region]{
			text("country", "ISO 3166 code, such as DE", func(r *state.Region) *string { return &r.Country }),
			decimal("lat", "latitude in degrees", func(r *state.Region) *float64 { return &r.Lat }),
			decimal("lon", "longitude in degrees", func(r *state.Region) *float64 { return &r.Lon }),
			words("zone", "zones", func(r *state.Region) *[]string { return &r.Zones }),
		},
	}
	return n.command(a)
}
