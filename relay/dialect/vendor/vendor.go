// Package vendor says how providers and models differ from the protocol that they speak: which
// members they refuse, how much they write at most, where their paths differ. It is data, dated and
// sourced, row by row; a new compatible vendor or model family is a row. Where a fact is in doubt the
// row leaves the request as it is, so that the vendor answers for itself.
//
// A vendor is found by the provider's vendor field, else by the host of base_url; a family by the
// model's name there. A view asks once for each target when it is compiled, never a request.
package vendor

import (
	"net/url"
	"path"
	"slices"
	"strings"

	"github.com/causeway-mesh/causeway/relay/dialect"
	"github.com/causeway-mesh/causeway/relay/llm"
)

// Vendor is one row: who runs an endpoint.
type Vendor struct {
	Name   string // as mesh.yaml's vendor field has it
	Title  string
	Hosts  []string       // of base_url, or what they end in; none = self-hosted, named by the vendor field only
	Base   string         // an example of base_url
	Scheme string         // of auth
	Quirks dialect.Quirks // in OpenAI's protocols
	// Unversioned: base_url ends where the protocol's version would follow.
	Unversioned bool
	Notes       string // for operators: what the row knows, or what to look out for
	Fact
}

// Family is one row: models that behave alike, wherever they are served.
type Family struct {
	Models    []string      // globs of names in lower case, without what stands before the last "/"
	At        []string      // vendors that this holds for; none = all
	In        []llm.Dialect // protocols in which the quirks show
	Quirks    dialect.Quirks
	MaxOutput int64 // tokens; 0 = not known
	Fact
}

// Fact is where a row comes from.
type Fact struct {
	Source   string // an address
	Reviewed string // the day, YYYY-MM-DD
}

// Facts is what is known of a target.
type Facts struct {
	Vendor      string // "" = not in the table
	Quirks      dialect.Quirks
	MaxOutput   int64 // 0 = not known
	Fill        int64 // the limit that an encoder states when the client has none; 0 = it states none
	Unversioned bool
}

// All lists the vendors in the order of their names.
func All() []Vendor { return vendors }

// Families lists the model families in the order in which they are looked at.
func Families() []Family { return families }

// Names lists the names that the vendor field takes.
func Names() []string {
	names := make([]string, len(vendors))
	for i := range vendors {
		names[i] = vendors[i].Name
	}
	return names
}

// For gives the facts of a target: name is the provider's vendor field, which counts before its
// base_url; model is the upstream's name, and limit the operator's own word on its maximum (0 = none).
func For(name, baseURL string, d llm.Dialect, model string, limit int64) Facts {
	var f Facts
	if v := find(name, baseURL); v != nil {
		f.Vendor = v.Name
		if slices.Contains(openAI, d) {
			f.Quirks = v.Quirks
		}
		f.Unversioned = v.Unversioned && d == llm.Gemini
	}
	if m := family(f.Vendor, model); m != nil {
		f.MaxOutput = m.MaxOutput
		if slices.Contains(m.In, d) {
			f.Quirks = join(f.Quirks, m.Quirks)
		}
	}
	if limit > 0 {
		f.MaxOutput = limit
	}
	if d == llm.AnthropicMessages {
		f.Fill = dialect.FillMax
		switch {
		case limit > 0:
			f.Fill = limit // asked for
		case f.MaxOutput > 0:
			f.Fill = min(f.MaxOutput, dialect.FillMax)
		}
	}
	return f
}

// Path is p, as a dialect's Backend gives it, below the provider's base URL.
func (f Facts) Path(p string) string {
	if !f.Unversioned || p == "" {
		return p
	}
	if i := strings.IndexByte(p[1:], '/'); i >= 0 {
		return p[1+i:]
	}
	return p
}

func find(name, baseURL string) *Vendor {
	host := ""
	if name == "" {
		if u, err := url.Parse(baseURL); err == nil {
			host = strings.ToLower(u.Hostname())
		}
	}
	for i := range vendors {
		v := &vendors[i]
		if name != "" && name == v.Name || host != "" && slices.ContainsFunc(v.Hosts, func(h string) bool { return ends(host, h) }) {
			return v
		}
	}
	return nil
}

// ends reports whether host is suffix or below it; a suffix that begins with "-" is part of a label.
func ends(host, suffix string) bool {
	rest, ok := strings.CutSuffix(host, suffix)
	return ok && (rest == "" || suffix[0] == '-' || rest[len(rest)-1] == '.')
}

// family is the first row that fits: special cases stand before general ones.
func family(vendor, model string) *Family {
	name := bare(model)
	for i := range families {
		f := &families[i]
		if len(f.At) > 0 && !slices.Contains(f.At, vendor) {
			continue
		}
		if slices.ContainsFunc(f.Models, func(glob string) bool { ok, _ := path.Match(glob, name); return ok }) {
			return f
		}
	}
	return nil
}

// bare is a model's own name: no owner ("google/", "publishers/x/models/"), none of Bedrock's regions
// and makers ("us.anthropic."), lower case.
func bare(model string) string {
	name := strings.ToLower(model[strings.LastIndexByte(model, '/')+1:])
	for _, maker := range [...]string{"anthropic.", "openai."} {
		if i := strings.Index(name, maker); i >= 0 {
			return name[i+len(maker):]
		}
	}
	return name
}

// join is what both rows say.
func join(a, b dialect.Quirks) dialect.Quirks {
	a.NoDeveloperRole = a.NoDeveloperRole || b.NoDeveloperRole
	a.LegacyMaxTokens = a.LegacyMaxTokens || b.LegacyMaxTokens
	a.NoStreamUsage = a.NoStreamUsage || b.NoStreamUsage
	a.NoPenalties = a.NoPenalties || b.NoPenalties
	a.NoLogprobs = a.NoLogprobs || b.NoLogprobs
	a.NoStop = a.NoStop || b.NoStop
	a.NoNames = a.NoNames || b.NoNames
	a.OnlyCommon = a.OnlyCommon || b.OnlyCommon
	a.CallIDs = max(a.CallIDs, b.CallIDs)
	a.Switch = max(a.Switch, b.Switch)
	a.NoSchema = a.NoSchema || b.NoSchema
	a.NoSampling = a.NoSampling || b.NoSampling
	a.NoPrefill = a.NoPrefill || b.NoPrefill
	a.NoReasoning = a.NoReasoning || b.NoReasoning
	a.NoEffort = a.NoEffort || b.NoEffort
	a.NoBudget = a.NoBudget || b.NoBudget
	a.AlwaysThinks = a.AlwaysThinks || b.AlwaysThinks
	a.LeastBetween = a.LeastBetween || b.LeastBetween
	a.SystemInPlace = a.SystemInPlace || b.SystemInPlace
	a.RemoteMedia = a.RemoteMedia || b.RemoteMedia
	return a
}
