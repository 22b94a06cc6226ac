package compliance

import "fmt"

// Class says how sensitive a request's content is. The order is the order of restriction.
type Class uint8

// The classes, least restricted first.
const (
	Public Class = iota
	Internal
	Confidential
	Restricted
	classes // how many there are
)

// String gives the name used in mesh.yaml, headers and records.
func (c Class) String() string {
	switch c {
	case Public:
		return "public"
	case Internal:
		return "internal"
	case Confidential:
		return "confidential"
	case Restricted:
		return "restricted"
	}
	return fmt.Sprintf("class(%d)", uint8(c))
}

// ParseClass reads a class name. Empty is internal: a tenant that says nothing is not public.
func ParseClass(s string) (Class, error) {
	switch s {
	case "public":
		return Public, nil
	case "", "internal":
		return Internal, nil
	case "confidential":
		return Confidential, nil
	case "restricted":
		return Restricted, nil
	}
	return 0, fmt.Errorf("class %q is not one of public, internal, confidential, restricted", s)
}

// AuditMode says what must be true of a request's intent record before its first byte leaves. The
// order is the order of strictness; zero means that nothing was asked for.
type AuditMode uint8

// The audit modes, weakest first (DESIGN.md 4.2).
const (
	AuditUnset      AuditMode = iota // take the default, buffer
	AuditBestEffort                  // losses are counted; class public only
	AuditBuffer                      // written before egress, fsynced with its group within 10 ms
	AuditStrict                      // fsynced before egress
)

// String gives the name used in mesh.yaml; the unset mode reads as its default.
func (m AuditMode) String() string {
	switch m {
	case AuditBestEffort:
		return "best_effort"
	case AuditStrict:
		return "strict"
	case AuditUnset, AuditBuffer:
	}
	return "buffer"
}

// ParseAuditMode reads a mode name; empty is unset.
func ParseAuditMode(s string) (AuditMode, error) {
	switch s {
	case "":
		return AuditUnset, nil
	case "best_effort":
		return AuditBestEffort, nil
	case "buffer":
		return AuditBuffer, nil
	case "strict":
		return AuditStrict, nil
	}
	return 0, fmt.Errorf("audit mode %q is not one of strict, buffer, best_effort", s)
}

// MarshalText writes the mode's name.
func (m AuditMode) MarshalText() ([]byte, error) { return []byte(m.String()), nil }

// UnmarshalText reads a mode's name.
func (m *AuditMode) UnmarshalText(b []byte) (err error) {
	*m, err = ParseAuditMode(string(b))
	return err
}

// effectiveMode is the mode that a request of class c gets when its tenant asked for want and a rule
// asked for forced.
func effectiveMode(want, forced AuditMode, c Class) AuditMode {
	m := max(want, forced)
	switch {
	case c == Restricted:
		return AuditStrict
	case m == AuditUnset, m == AuditBestEffort && c != Public:
		return AuditBuffer
	}
	return m
}
