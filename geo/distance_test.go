package geo

import (
	"math"
	"testing"
	"time"

	"pgregory.net/rapid"
)

var (
	shanghai  = Region{ID: "cn-east", Country: "CN", Lat: 31.2, Lon: 121.5}
	frankfurt = Region{ID: "eu-central", Country: "DE", Lat: 50.1, Lon: 8.7}
	oregon    = Region{ID: "us-west", Country: "US", Lat: 45.6, Lon: -121.2}
	virginia  = Region{ID: "us-east", Country: "US", Lat: 39.0, Lon: -77.5}
	tokyo     = Region{ID: "jp", Country: "JP", Lat: 35.7, Lon: 139.7}
	singapore = Region{ID: "sg", Country: "SG", Lat: 1.3, Lon: 103.8}
)

func TestDistanceKM(t *testing.T) {
	for _, c := range []struct {
		a, b Region
		km   float64
	}{
		{shanghai, tokyo, 1760},
		{shanghai, frankfurt, 8830},
		{shanghai, oregon, 9330},
		{oregon, virginia, 3640},
		{Region{Lat: 0, Lon: 179}, Region{Lat: 0, Lon: -179}, 222}, // over the date line
		{Region{Lat: 90}, Region{Lat: -90}, 20015},
	} {
		if got := DistanceKM(c.a.Lat, c.a.Lon, c.b.Lat, c.b.Lon); math.Abs(got-c.km) > c.km/50 {
			t.Errorf("%s-%s: %.0f km, want %.0f within 2 %%", c.a.ID, c.b.ID, got, c.km)
		}
	}
}

// TestRTTPriorNearMeasured: the guess is within a third of what public matrices say (mesh.md 6.7, 7).
func TestRTTPriorNearMeasured(t *testing.T) {
	for _, c := range []struct {
		a, b Region
		ms   float64
	}{
		{shanghai, oregon, 146},
		{shanghai, virginia, 215},
		{shanghai, frankfurt, 220},
		{shanghai, singapore, 75},
		{frankfurt, virginia, 90},
		{oregon, virginia, 62},
	} {
		got := RTTPrior(c.a, c.b).Seconds() * 1000
		if got < c.ms*2/3 || got > c.ms*4/3 {
			t.Errorf("%s-%s: guess %.0f ms, measured %.0f", c.a.ID, c.b.ID, got, c.ms)
		}
	}
}

func TestDistanceProperties(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		draw := func(name string) Region {
			return Region{
				Lat: rapid.Float64Range(-90, 90).Draw(t, name+"lat"), Lon: rapid.Float64Range(-180, 180).Draw(t, name+"lon"),
				Country: rapid.SampledFrom(countries).Draw(t, name).code,
			}
		}
		a, b := draw("a"), draw("b")
		there, back := DistanceKM(a.Lat, a.Lon, b.Lat, b.Lon), DistanceKM(b.Lat, b.Lon, a.Lat, a.Lon)
		if math.Abs(there-back) > 1e-6 || there < 0 || there > math.Pi*earthKM+1e-6 || math.IsNaN(there) {
			t.Fatalf("there %g, back %g", there, back)
		}
		if prior := RTTPrior(a, b); (prior-RTTPrior(b, a)).Abs() > time.Microsecond ||
			prior.Seconds()*1000 < there/roundTripKMPerMS {
			t.Fatalf("guess %s for %g km: not symmetric or faster than light", prior, there)
		}
	})
}
