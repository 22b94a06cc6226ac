// Package state is the replicated truth of a mesh: plain records, and Apply, a pure function from a
// state and a command to the next state. No clock, no randomness, no I/O, no map order, and no dated
// data (country lists, prices): two replicas of different builds must decide alike.
package state

import (
	"time"

	"github.com/causeway-mesh/causeway/coordinator/command"
)

// The resources, as package command defines them.
type (
	Duration    = command.Duration
	Region      = command.Region
	Provider    = command.Provider
	Auth        = command.Auth
	Secret      = command.Secret
	RateLimit   = command.RateLimit
	Timeouts    = command.Timeouts
	Model       = command.Model
	Target      = command.Target
	Price       = command.Price
	Org         = command.Org
	Tenant      = command.Tenant
	Key         = command.Key
	User        = command.User
	UserRole    = command.UserRole
	Limit       = command.Limit
	Policy      = command.Policy
	Rule        = command.Rule
	When        = command.When
	AuditRule   = command.AuditRule
	Route       = command.Route
	Hedge       = command.Hedge
	Node        = command.Node
	Certificate = command.Certificate
	Token       = command.Token
	Document    = command.Document
	Sort        = command.Sort
)

// ParseDuration reads time.ParseDuration's form, with "d" for whole days ("400d").
func ParseDuration(s string) (time.Duration, error) { return command.ParseDuration(s) }

// LimitID is the identity of a limit: "TENANT/KEY/MODEL" with "*" for none.
func LimitID(tenant, key, model string) string { return command.LimitID(tenant, key, model) }
