package compliance

import (
	_ "embed"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/go-json-experiment/json"

	"github.com/causeway-mesh/causeway/geo"
)

// TermsMaxAge is how old a review of a provider's list may be before it is worth a warning.
const TermsMaxAge = 90 * 24 * time.Hour

//go:embed terms/terms.json
var shippedTerms []byte

// Terms is a provider's published list of supported countries, as dated data. It is not legal advice.
type Terms struct {
	Name       string
	Source     string // URL of the published list
	ReviewedAt time.Time
	Review     string // how the list was reviewed
	Note       string
	Countries  geo.CountrySet
}

type termsFacts struct {
	client      geo.Country
	clientKnown bool
	user        geo.Country
	home        geo.CountrySet
	ownership   geo.Country
}

type termsFile struct {
	Notice    string      `json:"notice"`
	Providers []termsData `json:"providers"`
}

type termsData struct {
	Name        string   `json:"name"`
	Source      string   `json:"source"`
	ReviewedAt  string   `json:"reviewed_at"`
	Review      string   `json:"review"`
	Note        string   `json:"note,omitempty"`
	Countries   []string `json:"countries"`
	Territories []string `json:"territories,omitempty"`
}

// parseTerms reads the shipped data. Strict: an unknown member, country or date is an error.
func parseTerms(data []byte) ([]*Terms, error) {
	var f termsFile
	if err := json.Unmarshal(data, &f, json.RejectUnknownMembers(true)); err != nil {
		return nil, fmt.Errorf("parse terms: %w", err)
	}
	out := make([]*Terms, 0, len(f.Providers))
	for _, d := range f.Providers {
		at, err := time.Parse(time.DateOnly, d.ReviewedAt)
		if err != nil {
			return nil, fmt.Errorf("parse terms %s: reviewed_at: %w", d.Name, err)
		}
		set, err := geo.ParseCountrySet(slices.Concat(d.Countries, d.Territories))
		if err != nil {
			return nil, fmt.Errorf("parse terms %s: %w", d.Name, err)
		}
		out = append(out, &Terms{Name: d.Name, Source: d.Source, ReviewedAt: at, Review: d.Review, Note: d.Note, Countries: set})
	}
	return out, nil
}

// The data is part of the program; a test parses it, so that an error cannot reach a user.
var allTerms = sync.OnceValue(func() []*Terms {
	terms, err := parseTerms(shippedTerms)
	if err != nil {
		return nil
	}
	return terms
})

// TermsFor returns the shipped list for a provider's terms: value. Safe for concurrent use.
func TermsFor(name string) (*Terms, bool) {
	for _, t := range allTerms() {
		if t.Name == name {
			return t, true
		}
	}
	return nil, false
}

// TermsNames lists the shipped lists, sorted.
func TermsNames() []string {
	var out []string
	for _, t := range allTerms() {
		out = append(out, t.Name)
	}
	slices.Sort(out)
	return out
}

// Stale reports whether the review is more than TermsMaxAge old.
func (t *Terms) Stale(now time.Time) bool { return now.Sub(t.ReviewedAt) > TermsMaxAge }

// Permits reports whether the list covers the client, the tenant's home, its owner and, when
// claimed, the end user. why is empty when it does. An unknown place is not covered.
func (t *Terms) Permits(f Facts) (ok bool, why string) {
	why = t.refuses(termsFacts{f.Client, f.ClientKnown, f.UserCountry, f.Home, f.Ownership})
	return why == "", why
}

func (t *Terms) refuses(f termsFacts) string {
	switch {
	case f.home.Empty():
		return t.say("the tenant declares no home country")
	case !t.Countries.Covers(f.home):
		return t.say("the tenant's home " + f.home.String() + " is not wholly on its list of supported countries")
	case f.ownership != "" && !t.Countries.Has(f.ownership):
		return t.say("the tenant's owner is in " + string(f.ownership) + ", which is not on its list of supported countries")
	case !f.clientKnown:
		return t.say("the country of the client's address is unknown (an operator CIDR override can name it)")
	case f.client != "" && !t.Countries.Has(f.client):
		return t.say("the client is in " + string(f.client) + ", which is not on its list of supported countries")
	case f.user != "" && !t.Countries.Has(f.user):
		return t.say("the end user is in " + string(f.user) + ", which is not on its list of supported countries")
	}
	return ""
}

func (t *Terms) say(what string) string {
	var b strings.Builder
	b.WriteString("the terms of ")
	b.WriteString(t.Name)
	b.WriteString(" do not permit this: ")
	b.WriteString(what)
	return b.String()
}
