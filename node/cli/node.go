package cli

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"time"

	"github.com/spf13/cobra"

	"github.com/causeway-mesh/causeway/coordinator/api"
	"github.com/causeway-mesh/causeway/coordinator/state"
	"github.com/causeway-mesh/causeway/node"
	"github.com/causeway-mesh/causeway/node/config"
	"github.com/causeway-mesh/causeway/node/obs"
)

func (a *app) node() *cobra.Command {
	c := &cobra.Command{Use: "node", Short: "Edges and exits: admit them, run them, drain them"}
	c.AddCommand(a.nodeToken(), a.nodeJoin(), a.nodeRun(), a.nodeList(),
		a.nodeChange("drain", "Send nodes no new work; running streams finish"),
		a.nodeChange("resume", "Send drained nodes work again"),
		a.nodeChange("revoke", "Shut nodes out for good: their certificates are worth nothing any more"),
	)
	return c
}

func (a *app) nodeToken() *cobra.Command {
	var req api.TokenRequest
	var ttl string
	c := &cobra.Command{
		Use: "token", Short: "Make a join token: it admits one node, once", Args: cobra.NoArgs,
		Long: `A join token binds the node's region and roles and pins the mesh's CA, so that joining needs nothing
else. Only the token is written to standard output.`,
		Example: "  causeway node token --region us-west --role exit\n  causeway node token --region eu-central --role edge,exit --ttl 1h",
		RunE: func(c *cobra.Command, _ []string) error {
			if req.Region == "" || len(req.Roles) == 0 {
				return misuse(c, "a token binds region and role: --region us-west --role exit")
			}
			if err := req.TTL.UnmarshalText([]byte(ttl)); err != nil {
				return misuse(c, "--ttl: %s", err)
			}
			body, err := json.Marshal(req)
			if err != nil {
				return fmt.Errorf("encode request: %w", err)
			}
			got, err := a.call(c.Context(), api.Call{Method: http.MethodPost, Path: "/v1/cluster/tokens", Body: body})
			if err != nil {
				return fail("make a join token", err, "")
			}
			var t api.TokenAnswer
			if err := api.Decode(got, &t); err != nil {
				return err
			}
			if a.global.output == "table" {
				a.note("admits one node of region %s with the roles %s, %s; on that machine:", t.Region, join(t.Roles), when(t.ExpiresAt, time.Now()))
				a.note("  causeway %s join --server URL --token ...", map[bool]string{true: "coordinator", false: "node"}[join(t.Roles) == "coordinator"])
				return put(a.Out, t.Secret+"\n")
			}
			return a.show(c, answer{raw: got.Body, names: []string{t.ID}})
		},
	}
	a.clientFlags(c)
	f := c.Flags()
	f.StringVar(&req.Region, "region", "", "region of the node")
	f.StringSliceVar(&req.Roles, "roles", nil, "edge, exit, relay or coordinator")
	f.StringVar(&req.Node, "node", "", "the node's id; the coordinator makes one up when left out")
	f.StringVar(&ttl, "ttl", "15m", "how long the token can be used; 24h at most")
	c.AddCommand(a.tokenList(), a.tokenDelete())
	return c
}

func (a *app) tokenList() *cobra.Command {
	return &cobra.Command{
		Use: "list", Aliases: []string{"ls"}, Short: "List join tokens and who used them", Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			got, err := a.call(c.Context(), api.Call{Method: http.MethodGet, Path: "/v1/cluster/tokens"})
			if err != nil {
				return fail("list join tokens", err, "")
			}
			now := time.Now()
			return showList(a, c, got, []string{"ID", "REGION", "ROLES", "NODE", "EXPIRES", "USED-BY", "CREATED-BY"},
				func(t state.Token) string { return t.ID },
				func(t state.Token) []string {
					return []string{t.ID, t.Region, join(t.Roles), t.Node, when(t.ExpiresAt, now), t.UsedBy, t.CreatedBy}
				})
		},
	}
}

func (a *app) tokenDelete() *cobra.Command {
	return &cobra.Command{
		Use: "delete ID...", Aliases: []string{"rm"}, Short: "Withdraw join tokens", Args: cobra.MinimumNArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			for _, id := range args {
				if _, err := a.call(c.Context(), api.Call{Method: http.MethodDelete, Path: "/v1/cluster/tokens/" + url.PathEscape(id)}); err != nil {
					return fail("delete join token "+id, err, "causeway node token list")
				}
				a.note("join token %s deleted", id)
			}
			return nil
		},
	}
}

func (a *app) nodeJoin() *cobra.Command {
	var o node.JoinOptions
	var level string
	c := &cobra.Command{
		Use: "join --token TOKEN --server URL", Short: "Give this machine's node its identity, with a join token", Args: cobra.NoArgs,
		Long:    `Join makes a key, proves the token to a coordinator that the token's CA hash vouches for, and keeps the certificate in the data directory. Then: causeway node run`,
		Example: "  causeway node join --token cwj1.… --server https://10.0.0.1:7700 --data /var/lib/causeway/node",
		RunE: func(c *cobra.Command, _ []string) error {
			if o.Token == "" || o.Server == "" {
				return misuse(c, "joining needs --token (from `causeway node token`) and --server")
			}
			if err := checkLevel(c, level); err != nil {
				return err
			}
			if v := os.Getenv("CAUSEWAY_DATA"); v != "" && !c.Flags().Changed("data") {
				o.Data = v
			}
			var err error
			if o.Token, err = secretArg(o.Token); err != nil {
				return err
			}
			o.Version, o.Log = version, obs.NewLogger(a.Err, level)
			if err := node.Join(c.Context(), o); err != nil {
				return fail("join the mesh", err, joinHint(err))
			}
			a.note("joined; now run it: causeway node run --data %s", o.Data)
			return nil
		},
	}
	f := c.Flags()
	f.StringVar(&o.Token, "token", "", "join token, or file:PATH")
	f.StringVar(&o.Server, "server", "", "admin URLs of coordinators, https, separated by commas")
	f.StringVar(&o.Data, "data", config.Default().Data, "data directory (CAUSEWAY_DATA)")
	f.StringVar(&o.Advertise, "advertise", "", "host:port under which other nodes reach the mesh port")
	logFlag(c, &level, "warn")
	return c
}

// joinHint is the next step after a refused token.
func joinHint(err error) string {
	if explain(err).code == exitDenied {
		return "make a new one where there is an admin token: causeway node token --region REGION --role ROLE"
	}
	return ""
}

// nodeFlags override node.yaml and the environment, where they are given.
type nodeFlags struct {
	file string
	node config.Node
}

func (o *nodeFlags) add(c *cobra.Command) {
	d := config.Default()
	f := c.Flags()
	f.StringVar(&o.file, "config", "", "node.yaml")
	f.StringVar(&o.node.Data, "data", d.Data, "data directory")
	f.StringVar(&o.node.Region, "region", "", "informative: the region that counts is in the certificate")
	f.StringSliceVar(&o.node.Roles, "roles", nil, "edge, exit; those that the certificate grants")
	f.StringVar(&o.node.Listen, "listen", d.Listen, "client API, TCP and UDP")
	f.StringVar(&o.node.Mesh, "mesh", d.Mesh, "mesh port, UDP")
	f.StringVar(&o.node.Advertise, "advertise", "", "host:port under which other nodes reach the mesh port")
	f.StringVar(&o.node.Ops, "ops", d.Ops, "metrics and health")
	f.StringVar(&o.node.TLS.Mode, "tls", d.TLS.Mode, "client API: off, self or files")
	f.StringVar(&o.node.TLS.Cert, "tls-cert", "", "PEM chain, for --tls files")
	f.StringVar(&o.node.TLS.Key, "tls-key", "", "PEM key, for --tls files")
	f.StringSliceVar(&o.node.TrustedProxies, "trusted-proxies", nil, "prefixes whose X-Forwarded-For is believed")
	f.DurationVar(&o.node.Drain, "drain", d.Drain, "how long the first SIGTERM waits for running streams")
	logFlag(c, &o.node.Log, d.Log)
}

// load is flags over environment over file over defaults.
func (o *nodeFlags) load(c *cobra.Command) (config.Node, error) {
	n, err := config.Load(o.file, os.LookupEnv)
	if err != nil {
		return n, fail("read the node's configuration", err, "correct the file; every field is described in node/config/config.go and README")
	}
	set := c.Flags().Changed
	for _, x := range []struct {
		flag     string
		to, from *string
	}{
		{"data", &n.Data, &o.node.Data},
		{"region", &n.Region, &o.node.Region},
		{"listen", &n.Listen, &o.node.Listen},
		{"mesh", &n.Mesh, &o.node.Mesh},
		{"advertise", &n.Advertise, &o.node.Advertise},
		{"ops", &n.Ops, &o.node.Ops},
		{"tls", &n.TLS.Mode, &o.node.TLS.Mode},
		{"tls-cert", &n.TLS.Cert, &o.node.TLS.Cert},
		{"tls-key", &n.TLS.Key, &o.node.TLS.Key},
		{"log", &n.Log, &o.node.Log},
	} {
		if set(x.flag) {
			*x.to = *x.from
		}
	}
	if set("roles") {
		n.Roles = o.node.Roles
	}
	if set("trusted-proxies") {
		n.TrustedProxies = o.node.TrustedProxies
	}
	if set("drain") {
		n.Drain = o.node.Drain
	}
	if err := n.Validate(); err != nil {
		return n, fail("check the node's configuration", err, "correct the named fields in "+or(o.file, "the flags or environment"))
	}
	return n, nil
}

func (a *app) nodeRun() *cobra.Command {
	var o nodeFlags
	c := &cobra.Command{
		Use: "run", Short: "Run this machine's node, in the roles of its certificate", Args: cobra.NoArgs,
		Long:    "Run reads --config over CAUSEWAY_* in the environment over the defaults; flags win. SIGTERM drains, a second one exits at once.",
		Example: "  causeway node run --config /etc/causeway/node.yaml\n  causeway node run --data ./edge --listen 127.0.0.1:8443 --mesh 127.0.0.1:7711 --ops 127.0.0.1:7713",
		RunE: func(c *cobra.Command, _ []string) error {
			n, err := o.load(c)
			if err != nil {
				return err
			}
			return fail("run the node", node.Run(c.Context(), node.Options{
				Settings: n, Log: obs.NewLogger(a.Err, n.Log), Version: version,
				Started: func(client, mesh, ops string) {
					if client != "" {
						a.note("client API  %s", client)
					}
					a.note("mesh port   %s\nops         http://%s", mesh, ops)
				},
			}), "")
		},
	}
	o.add(c)
	return c
}

func (a *app) nodeList() *cobra.Command {
	c := &cobra.Command{
		Use: "list", Aliases: []string{"ls"}, Short: "List the nodes as the coordinators know them", Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			got, err := a.call(c.Context(), api.Call{Method: http.MethodGet, Path: "/v1/nodes"})
			if err != nil {
				return fail("list nodes", err, "")
			}
			now := time.Now()
			return showList(a, c, got, []string{"ID", "REGION", "ROLES", "STATE", "ADDR", "CERTIFICATE-ENDS", "BUILD"},
				func(n state.Node) string { return n.ID },
				func(n state.Node) []string {
					return []string{n.ID, n.Region, join(n.Roles), n.State, n.Addr, when(n.NotAfter, now), n.BuildInfo}
				})
		},
	}
	a.clientFlags(c)
	return c
}

func (a *app) nodeChange(verb, short string) *cobra.Command {
	done := map[string]string{"drain": "draining", "resume": "active", "revoke": "revoked"}[verb]
	c := &cobra.Command{
		Use: verb + " ID...", Short: short, Args: cobra.MinimumNArgs(1), ValidArgsFunction: a.complete("nodes"),
		RunE: func(c *cobra.Command, args []string) error {
			for _, id := range args {
				_, err := a.call(c.Context(), api.Call{Method: http.MethodPost, Path: "/v1/nodes/" + url.PathEscape(id) + ":" + verb})
				if err != nil {
					hint := ""
					if explain(err).code == exitNotFound {
						hint = "causeway node list"
					}
					return fail(verb+" node "+id, err, hint)
				}
				a.note("node %s is %s", id, done)
			}
			return nil
		},
	}
	a.clientFlags(c)
	return c
}
