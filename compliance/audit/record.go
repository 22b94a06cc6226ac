// Package audit is a node's append-only record of what left for where, and why it was allowed: an
// intent before egress and an outcome after it, in fsynced segment files.
package audit

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"time"

	"github.com/go-json-experiment/json"

	"github.com/causeway-mesh/causeway/compliance"
)

// Schema is the version of the record layout, member "v".
const Schema = 1

// timeLayout is fixed width, so that times sort as text.
const timeLayout = "2006-01-02T15:04:05.000000Z"

// Mode says how durable an intent is before egress.
type Mode = compliance.AuditMode

// Kind says what a record is.
type Kind string

// The kinds of record.
const (
	KindIntent   Kind = "intent"   // before egress; a denied one stands alone
	KindOutcome  Kind = "outcome"  // closes an intent
	KindCarry    Kind = "carry"    // opens a segment: the state that the records before it left
	KindRecovery Kind = "recovery" // what opening the log after a crash found
	KindLoss     Kind = "loss"     // best-effort records that could not be kept
)

// Hash is a SHA-256 value, hexadecimal in records. The zero value is left out.
type Hash [32]byte

// String is the hexadecimal form.
func (h Hash) String() string { return hex.EncodeToString(h[:]) }

// MarshalText writes hexadecimal; a zero hash is empty.
func (h Hash) MarshalText() ([]byte, error) {
	if h == (Hash{}) {
		return nil, nil
	}
	return hex.AppendEncode(nil, h[:]), nil
}

// UnmarshalText reads hexadecimal.
func (h *Hash) UnmarshalText(b []byte) error {
	if len(b) == 0 {
		*h = Hash{}
		return nil
	}
	if len(b) != 64 {
		return fmt.Errorf("hash has %d digits, not 64", len(b))
	}
	if _, err := hex.Decode(h[:], b); err != nil {
		return fmt.Errorf("hash: %w", err)
	}
	return nil
}

// LeafHash is RFC 6962's leaf hash of an encoded record (section 2.1), so that a Merkle log can take
// the records unchanged.
func LeafHash(record []byte) Hash {
	d := sha256.New()
	d.Write([]byte{0})
	d.Write(record)
	var h Hash
	d.Sum(h[:0])
	return h
}

// Record is one line of the log. Encoded, it is canonical JSON (RFC 8785) of at most 65535 bytes.
type Record struct {
	V      int    `json:"v"`
	Kind   Kind   `json:"kind"`
	Log    string `json:"log"` // NODE/EPOCH: which log, in which life of its directory
	Seq    uint64 `json:"seq"` // index in the log, from 0
	Time   string `json:"time"`
	Tenant string `json:"tenant,omitempty"` // "" = the log's own records
	// TenantSeq counts this tenant's records in this log from 0; Prev is the leaf hash of the one
	// before, absent for the first. With them an export shows that nothing was left out.
	TenantSeq uint64    `json:"tenant_seq"`
	Prev      Hash      `json:"prev_tenant_hash,omitzero"`
	Intent    *Intent   `json:"intent,omitempty"`
	Outcome   *Outcome  `json:"outcome,omitempty"`
	Carry     *Carry    `json:"carry,omitempty"`
	Recovery  *Recovery `json:"recovery,omitempty"`
	Loss      *Loss     `json:"loss,omitempty"`

	at time.Time // what Time will say
}

// At parses the record's time.
func (r *Record) At() (time.Time, error) { return time.Parse(time.RFC3339Nano, r.Time) }

// Intent is what is about to happen. It holds ids, countries, sizes and salted hashes: no prompt,
// no address, no name. Routes lists every way the request may take, so that a failover needs no
// second record; those beyond MaxRoutes are left out and must not be taken.
type Intent struct {
	Request  string `json:"request"`
	Tenant   string `json:"-"`
	Key      string `json:"key,omitempty"`
	Decision string `json:"decision"`       // allow, or the refusal's decision
	Code     string `json:"code,omitempty"` // the refusal's code
	Why      string `json:"why,omitempty"`  // the refusal's reason

	Dialect string `json:"dialect,omitempty"`
	Op      string `json:"op,omitempty"`
	Model   string `json:"model,omitempty"`
	Stream  bool   `json:"stream,omitempty"`
	Body    int64  `json:"body_bytes,omitempty"`

	Class       string   `json:"class,omitempty"`
	Home        string   `json:"home,omitempty"`
	Client      string   `json:"client_country,omitempty"`
	User        string   `json:"user_country,omitempty"`
	Purpose     string   `json:"purpose,omitempty"`
	Subject     Hash     `json:"subject,omitzero"` // Hasher.Subject
	Prompt      Hash     `json:"prompt,omitzero"`  // Hasher.Prompt
	Rules       []string `json:"rules,omitempty"`
	Revision    uint64   `json:"policy_revision,omitempty"`
	Mode        Mode     `json:"mode,omitzero"` // unset = the log's default
	EdgeRegion  string   `json:"edge_region,omitempty"`
	EdgeCountry string   `json:"edge_country,omitempty"`
	Routes      []Way    `json:"routes,omitempty"`
	Trace       string   `json:"trace,omitempty"`
}

// Way is one route that the verdict permitted.
type Way struct {
	Exit       string `json:"exit,omitempty"`
	Region     string `json:"region,omitempty"`
	Country    string `json:"country,omitempty"`
	Provider   string `json:"provider"`
	Model      string `json:"model"`
	Processing string `json:"processing,omitempty"` // countries, comma-separated, or "*"
	Storage    string `json:"storage,omitempty"`
	Terms      string `json:"terms,omitempty"`
}

// The results of an outcome.
const (
	ResultOK       = "ok"
	ResultError    = "error"
	ResultCanceled = "canceled"
	ResultPartial  = "partial" // broke after content had been sent
	ResultUnknown  = "unknown" // the node died before it could say
)

// Outcome is what happened.
type Outcome struct {
	IntentSeq uint64 `json:"intent_seq"` // set by the log
	Request   string `json:"request"`    // set by the log
	Result    string `json:"result"`
	Status    int    `json:"status,omitempty"` // what the client got
	Code      string `json:"code,omitempty"`
	Attempts  int    `json:"attempts,omitempty"`
	Route     int    `json:"route,omitempty"` // 1-based index into the intent's routes; 0 = none was used

	Input      int64  `json:"input_tokens,omitempty"`
	Cached     int64  `json:"cached_tokens,omitempty"`
	CacheWrite int64  `json:"cache_write_tokens,omitempty"`
	Output     int64  `json:"output_tokens,omitempty"`
	Reasoning  int64  `json:"reasoning_tokens,omitempty"`
	CostNano   int64  `json:"cost_nano_usd,omitempty"`
	Sent       int64  `json:"sent_bytes,omitempty"` // to the client
	FirstUS    int64  `json:"first_byte_us,omitempty"`
	TotalUS    int64  `json:"total_us,omitempty"`
	Processing string `json:"processing,omitempty"` // the place that the provider says it ran in
	Checked    string `json:"checked,omitempty"`    // verified | claimed | violated
	Losses     string `json:"losses,omitempty"`     // what a conversion could not carry, as in x-causeway-loss
}

// Carry opens each segment: where every tenant's chain stands and which intents are open, so that a
// reader need not go back. Large states are split over several records.
type Carry struct {
	Part    int          `json:"part"` // from 1
	Parts   int          `json:"parts"`
	Tenants []Chain      `json:"tenants,omitempty"`
	Open    []OpenIntent `json:"open,omitempty"`
}

// Chain is the end of one tenant's chain.
type Chain struct {
	Tenant string `json:"tenant"`
	Next   uint64 `json:"next"` // the next tenant_seq
	Last   Hash   `json:"last,omitzero"`
}

// OpenIntent is an intent without an outcome.
type OpenIntent struct {
	Seq     uint64 `json:"seq"`
	Tenant  string `json:"tenant"`
	Request string `json:"request"`
}

// Recovery says what opening found.
type Recovery struct {
	Torn  int64  `json:"torn_bytes,omitempty"` // cut off the end of the last segment
	Saved string `json:"saved,omitempty"`      // name of the file that keeps them
	Open  int    `json:"open_intents,omitempty"`
}

// Loss counts best-effort records that were not kept since the record before.
type Loss struct {
	Records uint64 `json:"records"`
}

// Parse reads one encoded record. Strict: unknown and duplicate members and invalid UTF-8 are errors.
func Parse(b []byte) (Record, error) {
	var r Record
	if err := json.Unmarshal(b, &r, json.RejectUnknownMembers(true)); err != nil {
		return Record{}, fmt.Errorf("parse audit record: %w", err)
	}
	if r.V != Schema {
		return Record{}, fmt.Errorf("parse audit record: schema version %d is not known here", r.V)
	}
	bodies := 0
	for _, set := range [...]bool{r.Intent != nil, r.Outcome != nil, r.Carry != nil, r.Recovery != nil, r.Loss != nil} {
		if set {
			bodies++
		}
	}
	want := false
	switch r.Kind {
	case KindIntent:
		want = r.Intent != nil
	case KindOutcome:
		want = r.Outcome != nil
	case KindCarry:
		want = r.Carry != nil
	case KindRecovery:
		want = r.Recovery != nil
	case KindLoss:
		want = r.Loss != nil
	}
	if !want || bodies != 1 {
		return Record{}, fmt.Errorf("parse audit record: kind %q does not fit its members", r.Kind)
	}
	if r.Intent != nil {
		r.Intent.Tenant = r.Tenant
	}
	return r, nil
}
