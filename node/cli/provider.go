package cli

import (
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"github.com/causeway-mesh/causeway/coordinator/manifest"
	"github.com/causeway-mesh/causeway/coordinator/state"
	"github.com/causeway-mesh/causeway/relay/dialect/vendor"
)

func (a *app) provider() *cobra.Command {
	type p = state.Provider
	n := &noun[p]{
		one: "provider", many: "providers", short: "Upstream accounts and endpoints",
		example: `  causeway provider create openai-us --base-url https://api.openai.com/v1 --dialect openai-chat,openai-responses \
    --secret id=a,value=env:OPENAI_API_KEY --processing US --storage US --terms openai --exit us-west`,
		head: []string{"ID", "DIALECTS", "BASE-URL", "PROCESSING", "STORAGE", "TERMS", "EXITS", "TENANT", "SECRETS"},
		row: func(v p) []string {
			var secrets []string
			for _, s := range v.Auth.Secrets {
				secrets = append(secrets, s.ID+"="+or(s.Fingerprint, "none"))
			}
			return []string{v.ID, join(v.Dialects), v.BaseURL, join(v.Processing), join(v.Storage), v.Terms, or(join(v.Exits), "*"), or(v.Tenant, "*"), join(secrets)}
		},
		id:    func(v p) string { return v.ID },
		setID: func(v *p, id string) { v.ID = or(v.ID, id) },
		fields: []field[p]{
			words("dialect", "openai-chat, openai-responses, anthropic-messages, gemini", func(v *p) *[]string { return &v.Dialects }),
			text("base-url", "as that vendor's SDK takes it", func(v *p) *string { return &v.BaseURL }),
			text("vendor", "whose rules it follows, where base-url does not tell: "+strings.Join(vendor.Names(), ", "), func(v *p) *string { return &v.Vendor }),
			text("scheme", "bearer, x-api-key or x-goog-api-key", func(v *p) *string { return &v.Auth.Scheme }),
			{name: "secret", usage: "a credential: id=a,value=env:NAME,weight=1 (repeat it); replaces all, without a value keeps the former one", set: setSecrets},
			words("processing", "countries where it may process, or *", func(v *p) *[]string { return &v.Processing }),
			words("storage", "countries where it may store, or *", func(v *p) *[]string { return &v.Storage }),
			text("terms", "shipped list of supported countries: openai, anthropic, google", func(v *p) *string { return &v.Terms }),
			words("exit", "regions whose exits may call it; none = all", func(v *p) *[]string { return &v.Exits }),
			text("tenant", "whose account it is: nobody else's requests go there; none = shared", func(v *p) *string { return &v.Tenant }),
			number("rpm", "the account's own requests per minute, per secret", func(v *p) *int64 { return &v.Limits.RPM }),
			number("tpm", "the account's own tokens per minute, per secret", func(v *p) *int64 { return &v.Limits.TPM }),
			period("connect-timeout", "5s", func(v *p) *state.Duration { return &v.Timeouts.Connect }),
			period("first-byte-timeout", "120s", func(v *p) *state.Duration { return &v.Timeouts.FirstByte }),
			period("gap-timeout", "120s", func(v *p) *state.Duration { return &v.Timeouts.Gap }),
			period("total-timeout", "600s", func(v *p) *state.Duration { return &v.Timeouts.Total }),
		},
		secrets: func(v *p, resolve func(*manifest.Document) error) error {
			doc := &manifest.Document{Document: state.Document{Providers: []p{*v}}}
			if err := resolve(doc); err != nil {
				return err
			}
			*v = doc.Providers[0]
			return nil
		},
	}
	return n.command(a)
}

func setSecrets(v *state.Provider, list []string) error {
	v.Auth.Secrets = nil
	for _, text := range list {
		var s state.Secret
		err := pairs(text, func(name, value string) error {
			switch name {
			case "id":
				s.ID = value
			case "value":
				s.Value = value
			case "weight":
				n, err := strconv.Atoi(value)
				if err != nil || n < 1 {
					return fmt.Errorf("weight %q is not a whole number from 1", value)
				}
				s.Weight = n
			default:
				return fmt.Errorf("%q is not one of id, value, weight", name)
			}
			return nil
		})
		if err != nil {
			// The text may hold a secret: say where, not what.
			return errors.New("write id=NAME,value=env:VARIABLE,weight=1")
		}
		if s.ID == "" {
			return errors.New("a secret needs an id: id=NAME,value=env:VARIABLE")
		}
		v.Auth.Secrets = append(v.Auth.Secrets, s)
	}
	return nil
}
