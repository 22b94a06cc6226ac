package cli

import (
	"encoding/json"
	"fmt"
	"net/http"
	"time"

	"github.com/spf13/cobra"

	"github.com/causeway-mesh/causeway/coordinator/api"
	"github.com/causeway-mesh/causeway/coordinator/manifest"
	"github.com/causeway-mesh/causeway/coordinator/state"
)

func (a *app) key() *cobra.Command {
	n := keyNoun()
	c := n.command(a)
	for _, sub := range c.Commands() {
		if sub.Name() == "create" {
			c.RemoveCommand(sub)
		}
	}
	c.AddCommand(a.keyCreate(n), a.keyRotate(n), a.keyRevoke(n))
	return c
}

func keyNoun() *noun[state.Key] {
	return &noun[state.Key]{
		one: "key", many: "keys", short: "Virtual API keys of tenants",
		example: `  causeway key create acme-app --tenant acme
  CAUSEWAY_KEY=$(causeway key create ci --tenant acme -o json | jq -r .secret)`,
		head: []string{"ID", "TENANT", "MODELS", "IPS", "FINGERPRINT", "STATE"},
		row: func(k state.Key) []string {
			return []string{k.ID, k.Tenant, or(join(k.Models), "*"), or(join(k.IPs), "*"), k.Fingerprint, keyState(k, time.Now())}
		},
		id:    func(k state.Key) string { return k.ID },
		setID: func(k *state.Key, id string) { k.ID = or(k.ID, id) },
		fields: []field[state.Key]{
			text("tenant", "whose key it is", func(k *state.Key) *string { return &k.Tenant }),
			words("model", "models it may use; none or * = all", func(k *state.Key) *[]string { return &k.Models }),
			words("ip", "addresses or prefixes it may be used from; none = any", func(k *state.Key) *[]string { return &k.IPs }),
			text("secret", "its secret, as env:NAME or file:PATH; generated when left out", func(k *state.Key) *string { return &k.Secret }),
		},
		secrets: func(k *state.Key, resolve func(*manifest.Document) error) error {
			doc := &manifest.Document{Document: state.Document{Keys: []state.Key{*k}}}
			if err := resolve(doc); err != nil {
				return err
			}
			*k = doc.Keys[0]
			return nil
		},
	}
}

func keyState(k state.Key, now time.Time) string {
	switch {
	case k.Revoked:
		return "revoked"
	case k.PreviousUntil > now.Unix():
		return "active, former secret ends " + when(k.PreviousUntil, now)
	}
	return "active"
}

// secretKey is the one answer that holds a key's secret.
type secretKey struct {
	state.Key
	Secret string `json:"secret"`
}

// showSecret prints a new secret, which is never shown again.
func (a *app) showSecret(c *cobra.Command, raw []byte) error {
	var k secretKey
	if err := json.Unmarshal(raw, &k); err != nil {
		return fmt.Errorf("read answer of the coordinator: %w", err)
	}
	err := a.show(c, answer{raw: raw, names: []string{k.ID}, table: func() table {
		return table{head: []string{"ID", "TENANT", "SECRET"}, rows: [][]string{{k.ID, k.Tenant, k.Secret}}}
	}})
	if k.Secret != "" && a.global.output != "name" {
		a.note("The secret is shown this once: keep it now.")
	}
	return err
}

func (a *app) keyCreate(n *noun[state.Key]) *cobra.Command {
	c := &cobra.Command{
		Use: "create ID", Short: "Create a key and print its secret, once", Args: cobra.ExactArgs(1), Example: n.example,
	}
	in := n.flags(c)
	c.RunE = func(c *cobra.Command, args []string) error {
		if !c.Flags().Changed("tenant") && in.file == "" {
			return misuse(c, "a key belongs to a tenant: --tenant ID")
		}
		var k state.Key
		body, err := n.body(a, c, in, args[0], &k)
		if err != nil {
			return err
		}
		got, err := a.call(c.Context(), api.Call{Method: http.MethodPost, Path: "/v1/keys", Body: body})
		if err != nil {
			return fail("create key "+args[0], err, n.existsHint(err, args[0]))
		}
		return a.showSecret(c, got.Body)
	}
	return c
}

func (a *app) keyRotate(n *noun[state.Key]) *cobra.Command {
	var secret, keep string
	c := &cobra.Command{
		Use: "rotate ID", Short: "Give a key a new secret and print it, once; the former stays good for a while", Args: cobra.ExactArgs(1),
		ValidArgsFunction: a.complete(n.many),
		RunE: func(c *cobra.Command, args []string) error {
			body := struct {
				Secret string         `json:"secret,omitempty"`
				Keep   state.Duration `json:"keep"`
			}{}
			if err := body.Keep.UnmarshalText([]byte(keep)); err != nil {
				return misuse(c, "--keep: %s", err)
			}
			if secret != "" {
				t, err := a.target()
				if err != nil {
					return err
				}
				k := state.Key{ID: args[0], Secret: secret}
				if err := n.secrets(&k, func(d *manifest.Document) error { return d.Resolve(sources(t)) }); err != nil {
					return err
				}
				body.Secret = k.Secret
			}
			b, err := json.Marshal(body)
			if err != nil {
				return fmt.Errorf("encode request: %w", err)
			}
			got, err := a.call(c.Context(), api.Call{Method: http.MethodPost, Path: n.path(args[0]) + ":rotate", Body: b})
			if err != nil {
				return fail("rotate key "+args[0], err, n.listHint(err))
			}
			return a.showSecret(c, got.Body)
		},
	}
	c.Flags().StringVar(&secret, "secret", "", "the new secret, as env:NAME or file:PATH; generated when left out")
	c.Flags().StringVar(&keep, "keep", "24h", "how long the former secret stays good; 0s ends it now, 30d at most")
	return c
}

func (a *app) keyRevoke(n *noun[state.Key]) *cobra.Command {
	return &cobra.Command{
		Use: "revoke ID...", Short: "End keys for good, with their former secrets", Args: cobra.MinimumNArgs(1), ValidArgsFunction: a.complete(n.many),
		RunE: func(c *cobra.Command, args []string) error {
			for _, id := range args {
				_, err := a.call(c.Context(), api.Call{Method: http.MethodPost, Path: n.path(id) + ":revoke"})
				if err != nil {
					return fail("revoke key "+id, err, n.listHint(err))
				}
				a.note("key %s revoked", id)
			}
			return nil
		},
	}
}
