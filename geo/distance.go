package geo

import (
	"math"
	"time"
)

const (
	earthKM = 6371.0088 // mean radius
	// Light in fibre: 204 km per millisecond one way, so a kilometre costs 1/102 ms there and back.
	roundTripKMPerMS = 102
	// What a path costs however short it is: last metres, two kernels.
	basePrior = 2 * time.Millisecond
)

// DistanceKM is the length of the great circle between two points given in degrees, in kilometres
// on a sphere.
func DistanceKM(lat1, lon1, lat2, lon2 float64) float64 {
	const rad = math.Pi / 180
	sinLat := math.Sin((lat2 - lat1) * rad / 2)
	sinLon := math.Sin((lon2 - lon1) * rad / 2)
	h := sinLat*sinLat + math.Cos(lat1*rad)*math.Cos(lat2*rad)*sinLon*sinLon
	return 2 * earthKM * math.Asin(math.Sqrt(min(h, 1)))
}

// RTTPrior guesses the round trip between two regions from their places: the fibre floor of the
// great circle, stretched by how much the cables between the two continents wander. It is symmetric
// and serves only until a probe has measured.
func RTTPrior(a, b Region) time.Duration {
	km := DistanceKM(a.Lat, a.Lon, b.Lat, b.Lon)
	ms := km / roundTripKMPerMS * stretch(a.Country.continent(), b.Country.continent())
	return basePrior + time.Duration(ms*float64(time.Millisecond))
}

// stretch is how many times longer than its fibre floor a measured path is, by continents. Fitted
// to public cloud matrices: Shanghai-Oregon 146 ms over 93, Shanghai-Frankfurt 220 over 86,
// Frankfurt-Virginia 90 over 65, Oregon-Virginia 62 over 37.
func stretch(a, b string) float64 {
	if a > b {
		a, b = b, a
	}
	switch a + b {
	case "EUNA":
		return 1.4
	case "ASNA", "ASOC", "NAOC", "NASA":
		return 1.6
	case "ASEU": // round Africa's horn or over Siberia, never straight
		return 2.4
	}
	if a == b && a != "" {
		return 1.7
	}
	return 2
}
