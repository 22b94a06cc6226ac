package exit

import (
	"fmt"
	"reflect"
	"slices"
	"strings"

	"github.com/causeway-mesh/causeway/coordinator/state"
	"github.com/causeway-mesh/causeway/geo"
	"github.com/causeway-mesh/causeway/node/view"
	"github.com/causeway-mesh/causeway/relay/upstream"
)

// account is a provider as this exit calls it: its connections and its credentials. It is kept as
// long as its specification stays the same, so that a change elsewhere costs no connection.
type account struct {
	spec    state.Provider
	sharers int
	client  *upstream.Client
	secrets *upstream.Secrets
	bare    bool          // a provider without credentials, such as one on the operator's own machines
	models  []view.Target // by name
}

func newAccount(p state.Provider, sharers int, dial upstream.DialFunc) (*account, error) {
	t := p.Timeouts
	client, err := upstream.New(upstream.Config{
		BaseURL: p.BaseURL, Scheme: upstream.AuthScheme(p.Auth.Scheme),
		Timeouts: upstream.Timeouts{Connect: t.Connect.D(), FirstByte: t.FirstByte.D(), Gap: t.Gap.D(), Total: t.Total.D()},
		MaxIdle:  256, Dial: dial,
	})
	if err != nil {
		return nil, fmt.Errorf("provider %s: %w", p.ID, err)
	}
	a := &account{spec: p, sharers: sharers, client: client, bare: len(p.Auth.Secrets) == 0}
	list := make([]upstream.Secret, 0, len(p.Auth.Secrets))
	for _, s := range p.Auth.Secrets {
		list = append(list, upstream.Secret{
			ID: s.ID, Value: upstream.NewValue(s.Value), Weight: s.Weight,
			RPM: share(p.Limits.RPM, sharers), TPM: share(p.Limits.TPM, sharers),
		})
	}
	if a.secrets, err = upstream.NewSecrets(list); err != nil {
		return nil, fmt.Errorf("provider %s: %w", p.ID, err)
	}
	return a, nil
}

// share is this exit's static part of an account's limit: the exits that may call it divide it.
func share(n int64, sharers int) int64 {
	if n <= 0 {
		return 0
	}
	return max(n/int64(max(sharers, 1)), 1)
}

// serves reports whether the mesh offers this upstream model at this provider. An edge that asks for
// anything else is wrong or has been taken over.
func (a *account) serves(model string) (*view.Target, bool) {
	if a == nil {
		return nil, false
	}
	i, ok := slices.BinarySearchFunc(a.models, model, func(t view.Target, name string) int { return strings.Compare(t.Model, name) })
	if !ok {
		return nil, false
	}
	return &a.models[i], true
}

// rebuild makes the accounts of a snapshot, keeping those that did not change.
func (e *Exit) rebuild(s *view.Snapshot) {
	former := e.accounts.Load()
	next := make(map[string]*account, len(s.Providers))
	here := geo.RegionID(s.Self.Region)
	for id, p := range s.Providers {
		if !p.CallableFrom(here) {
			continue
		}
		sharers := 0
		for _, x := range s.Exits {
			if p.CallableFrom(x.Region.ID) {
				sharers++
			}
		}
		var a *account
		if former != nil {
			if old := (*former)[id]; old != nil && old.sharers == sharers && reflect.DeepEqual(old.spec, p.Spec) {
				kept := *old // the models may differ
				a = &kept
			}
		}
		if a == nil {
			var err error
			if a, err = newAccount(p.Spec, sharers, e.cfg.Dial); err != nil {
				e.cfg.Log.Error().Err(err).Msg("provider not usable from this exit")
				continue
			}
		}
		a.models = nil
		for _, name := range s.ModelNames {
			m, _ := s.Model(name)
			for _, t := range m.Targets {
				if t.Provider.ID == id {
					a.models = append(a.models, t)
				}
			}
		}
		slices.SortFunc(a.models, func(a, b view.Target) int { return strings.Compare(a.Model, b.Model) })
		next[id] = a
	}
	e.accounts.Store(&next)
	if former == nil {
		return
	}
	for id, old := range *former {
		if a := next[id]; a == nil || a.client != old.client {
			old.client.Close()
		}
	}
}
