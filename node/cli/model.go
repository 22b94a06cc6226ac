package cli

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"github.com/causeway-mesh/causeway/coordinator/state"
)

func (a *app) model() *cobra.Command {
	type m = state.Model
	n := &noun[m]{
		one: "model", many: "models", short: "What clients ask for, and who serves it",
		example: `  causeway model create gpt-4o --alias gpt-4 --target provider=openai-us,model=gpt-4o \
    --target provider=openai-eu,model=gpt-4o,tier=1 --price input=2.50,cached_input=1.25,output=10.00`,
		head: []string{"ID", "ALIASES", "TARGETS", "FALLBACKS", "PRICE"},
		row: func(v m) []string {
			var targets []string
			for i, t := range v.Targets {
				if i == 2 && len(v.Targets) > 3 {
					targets = append(targets, "+"+strconv.Itoa(len(v.Targets)-i))
					break
				}
				s := t.Provider + ":" + t.Model
				if t.Tier > 0 {
					s += " (tier " + strconv.Itoa(t.Tier) + ")"
				}
				targets = append(targets, s)
			}
			price := ""
			if v.Price.Input != "" || v.Price.Output != "" {
				price = v.Price.Input + "/" + v.Price.Output
			}
			return []string{v.ID, join(v.Aliases), strings.Join(targets, ", "), join(v.Fallbacks), price}
		},
		id:    func(v m) string { return v.ID },
		setID: func(v *m, id string) { v.ID = or(v.ID, id) },
		fields: []field[m]{
			words("alias", "further names", func(v *m) *[]string { return &v.Aliases }),
			{name: "target", usage: "who serves it: provider=ID,model=NAME,tier=0,weight=1,max_output=8192 (repeat it); replaces all", set: setTargets},
			number("max-output", "the most tokens that it writes; 0 = as the shipped table says", func(v *m) *int64 { return &v.MaxOutput }),
			words("fallback", "models that may answer instead", func(v *m) *[]string { return &v.Fallbacks }),
			{name: "price", usage: "USD per million: input=2.50,cached_input=1.25,cache_write=0,output=10,unit=token", set: setPrice},
		},
	}
	return n.command(a)
}

func setTargets(v *state.Model, list []string) error {
	v.Targets = nil
	for _, s := range list {
		var t state.Target
		err := pairs(s, func(name, value string) error {
			number := func(to *int, least int) error {
				n, err := strconv.Atoi(value)
				if err != nil || n < least {
					return fmt.Errorf("%s %q is not a whole number from %d", name, value, least)
				}
				*to = n
				return nil
			}
			switch name {
			case "provider":
				t.Provider = value
			case "model":
				t.Model = value
			case "tier":
				return number(&t.Tier, 0)
			case "weight":
				return number(&t.Weight, 1)
			case "max_output":
				var n int
				err := number(&n, 1)
				t.MaxOutput = int64(n)
				return err
			default:
				return fmt.Errorf("%q is not one of provider, model, tier, weight, max_output", name)
			}
			return nil
		})
		if err != nil {
			return err
		}
		t.Model = or(t.Model, v.ID)
		v.Targets = append(v.Targets, t)
	}
	return nil
}

func setPrice(v *state.Model, list []string) error {
	for _, s := range list {
		if err := pairs(s, func(name, value string) error {
			at, ok := map[string]*string{
				"input": &v.Price.Input, "cached_input": &v.Price.CachedInput, "cache_write": &v.Price.CacheWrite,
				"output": &v.Price.Output, "unit": &v.Price.Unit,
			}[name]
			if !ok {
				return fmt.Errorf("%q is not one of input, cached_input, cache_write, output, unit", name)
			}
			*at = value
			return nil
		}); err != nil {
			return err
		}
	}
	return nil
}
