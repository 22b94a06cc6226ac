package state

import "fmt"

// Code classifies a rejected command. The set is closed; the admin API maps each to a status.
type Code string

// The codes.
const (
	NotFound           Code = "not_found"            // the object itself does not exist
	Conflict           Code = "conflict"             // clashes with another object or with what this one is now
	PreconditionFailed Code = "precondition_failed"  // If-Match or If-None-Match
	Invalid            Code = "invalid"              // the command says something impossible, a dangling reference among it
	InUse              Code = "in_use"               // others refer to what would go
	Denied             Code = "denied"               // join token wrong, used or expired
	IdempotencyReuse   Code = "idempotency_mismatch" // the idempotency key was used for another request
)

// Error is why a command was rejected. A rejected command changes nothing.
type Error struct {
	Code    Code
	Field   string // path as in mesh.yaml ("providers[0].exits[1]"); "" = the object as a whole
	Message string // for people: what, and how to fix it; holds no secret
}

// Error implements error.
func (e *Error) Error() string {
	if e.Field == "" {
		return e.Message
	}
	return e.Field + ": " + e.Message
}

func reject(code Code, field, format string, args ...any) *Error {
	return &Error{Code: code, Field: field, Message: fmt.Sprintf(format, args...)}
}
