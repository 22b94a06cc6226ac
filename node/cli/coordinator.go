package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"strconv"

	"github.com/spf13/cobra"

	"github.com/causeway-mesh/causeway/coordinator"
	"github.com/causeway-mesh/causeway/coordinator/api"
	"github.com/causeway-mesh/causeway/coordinator/consensus"
	"github.com/causeway-mesh/causeway/node"
	"github.com/causeway-mesh/causeway/node/obs"
)

func (a *app) coordinator() *cobra.Command {
	c := &cobra.Command{Use: "coordinator", Short: "The members that hold the mesh's state"}
	c.AddCommand(a.coordinatorRun(), a.coordinatorJoin(), a.coordinatorStatus())
	return c
}

// coordinatorFlags are those of run and join.
type coordinatorFlags struct {
	coordinator.Config
	profile, level string
}

func (o *coordinatorFlags) add(c *cobra.Command) {
	f := c.Flags()
	f.StringVar(&o.Dir, "data", "./.causeway/coordinator", "data directory (CAUSEWAY_DATA)")
	f.StringVar(&o.ID, "id", "", "member id; generated and then kept in the data directory")
	f.StringVar(&o.ListenAPI, "admin", ":7700", "admin API, always TLS")
	f.StringVar(&o.ListenRaft, "raft", ":7702", "where the other coordinators reach this one; an empty value makes a cluster of one")
	f.StringVar(&o.Advertise, "advertise", "", "host that others reach this coordinator at; else an interface's address")
	f.StringVar(&o.profile, "profile", "local", "patience with the other coordinators: local, or wan across continents; the same on all")
	logFlag(c, &o.level, "info")
}

// config fills what flags cannot say by themselves.
func (o *coordinatorFlags) config(a *app, c *cobra.Command) (coordinator.Config, error) {
	cfg := o.Config
	if v := os.Getenv("CAUSEWAY_DATA"); v != "" && !c.Flags().Changed("data") {
		cfg.Dir = v
	}
	var err error
	if cfg.Profile, err = consensus.ParseProfile(o.profile); err != nil {
		return cfg, misuse(c, "--profile: %s", err)
	}
	if err := checkLevel(c, o.level); err != nil {
		return cfg, err
	}
	cfg.Build, cfg.Log = version, obs.NewLogger(a.Err, o.level)
	return cfg, nil
}

func (a *app) coordinatorRun() *cobra.Command {
	var o coordinatorFlags
	c := &cobra.Command{
		Use: "run", Short: "Run a coordinator; --init makes a new cluster first", Args: cobra.NoArgs,
		Example: "  causeway coordinator run --init --data /var/lib/causeway/coordinator --advertise 10.0.0.1",
		RunE: func(c *cobra.Command, _ []string) error {
			cfg, err := o.config(a, c)
			if err != nil {
				return err
			}
			return a.coordinate(c.Context(), cfg)
		},
	}
	o.add(c)
	c.Flags().BoolVar(&o.Init, "init", false, "make a new cluster in an empty data directory; nothing happens to one that holds a cluster")
	c.Flags().StringVar(&o.Mesh, "mesh", "", "the new cluster's name; causeway")
	c.Flags().StringVar(&o.Region, "region", "", "region written into the new cluster's first certificate; control")
	return c
}

func (a *app) coordinatorJoin() *cobra.Command {
	var o coordinatorFlags
	var join coordinator.Join
	c := &cobra.Command{
		Use: "join --token TOKEN --server URL", Short: "Enter an existing cluster with a join token, and run", Args: cobra.NoArgs,
		Long: `Join enters an existing cluster and keeps running. The token is spent by it: later starts use
"coordinator run" with the same data directory, or this same command again.`,
		Example: `  causeway node token --role coordinator --region eu-central     # on a machine with an admin token
  causeway coordinator join --token cwj1.… --server https://10.0.0.1:7700 --advertise 10.0.0.2`,
		RunE: func(c *cobra.Command, _ []string) error {
			cfg, err := o.config(a, c)
			if err != nil {
				return err
			}
			if join.Token == "" || len(join.Servers) == 0 {
				return misuse(c, "joining needs --token (from `causeway node token --role coordinator`) and --server")
			}
			cfg.Join = &join
			return a.coordinate(c.Context(), cfg)
		},
	}
	o.add(c)
	c.Flags().StringVar(&join.Token, "token", "", "join token for the role coordinator, or file:PATH")
	c.Flags().StringSliceVar(&join.Servers, "server", nil, "admin URLs of the cluster, https")
	return c
}

// coordinate runs a coordinator until ctx ends, and says what people need to go on.
func (a *app) coordinate(ctx context.Context, cfg coordinator.Config) error {
	if cfg.Join != nil {
		token, err := secretArg(cfg.Join.Token)
		if err != nil {
			return err
		}
		cfg.Join.Token = token
	}
	metrics, err := obs.NewRegistry(version)
	if err != nil {
		return fail("start the coordinator", err, "")
	}
	cfg.Override = func(path string) http.Handler {
		if path == "/metrics" {
			return metrics.Handler()
		}
		return nil
	}
	cfg.Explain = node.Explainer()
	s, err := coordinator.New(ctx, cfg)
	if err != nil {
		return fail("start the coordinator", err, "")
	}
	if err := obs.NewCoordinator(metrics.Coordinator(s.ID()), s.Stats); err != nil {
		return fail("start the coordinator", errors.Join(err, s.Close()), "")
	}
	ready, stop := context.WithCancel(ctx)
	done := make(chan struct{})
	go func() {
		defer close(done)
		if s.WaitReady(ready) == nil {
			a.announce(s)
		}
	}()
	err = s.Run(ctx)
	stop()
	<-done
	return fail("run the coordinator", err, "")
}

func (a *app) announce(s *coordinator.Server) {
	a.note("coordinator %s of mesh %s is ready", s.ID(), s.Mesh())
	a.note("  admin API    %s", s.APIURL())
	a.note("  CA           %s", s.CAFile())
	a.note("  CA hash      %s", s.CAHash())
	if s.AdminToken() != "" {
		a.note("  admin token  in %s", s.AdminTokenFile())
		a.note("  try          causeway coordinator status --server %s --token file:%s --ca %s", s.APIURL(), s.AdminTokenFile(), s.CAFile())
	}
}

func (a *app) coordinatorStatus() *cobra.Command {
	c := &cobra.Command{
		Use: "status", Short: "Leader, members, and whether they agree", Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			got, err := a.call(c.Context(), api.Call{Method: http.MethodGet, Path: "/v1/cluster"})
			if err != nil {
				return fail("ask for the cluster's status", err, "")
			}
			members, err := a.call(c.Context(), api.Call{Method: http.MethodGet, Path: "/v1/cluster/members"})
			if err != nil {
				return fail("ask for the cluster's members", err, "")
			}
			return a.showCluster(c, got, members)
		},
	}
	a.clientFlags(c)
	return c
}

// clusterStatus is what `coordinator status -o json` prints.
type clusterStatus struct {
	api.ClusterInfo
	Members []api.Member `json:"members"`
}

func (a *app) showCluster(c *cobra.Command, cluster, members api.Answer) error {
	var s clusterStatus
	var list struct{ Items []api.Member }
	if err := errors.Join(api.Decode(cluster, &s.ClusterInfo), api.Decode(members, &list)); err != nil {
		return err
	}
	s.Members = list.Items
	raw, err := json.Marshal(s)
	if err != nil {
		return fmt.Errorf("encode status: %w", err)
	}
	out := answer{raw: raw, table: func() table {
		t := table{head: []string{"MEMBER", "STATE", "VOTER", "INDEX", "STATE-HASH", "RAFT", "ADMIN", "BUILD"}}
		for _, m := range s.Members {
			state := "follower"
			switch {
			case !m.Online:
				state = "offline"
			case m.Leader:
				state = "leader"
			}
			t.add(m.ID, state, yes(m.Voter), strconv.FormatUint(m.Index, 10), clip(m.FSMHash, 12), m.Addr, m.API, m.Build)
		}
		return t
	}}
	for _, m := range s.Members {
		out.names = append(out.names, m.ID)
	}
	if err := a.show(c, out); err != nil {
		return err
	}
	if a.global.output == "table" {
		a.note("mesh %s, cluster %s, term %d, index %d: %d voters, %d may fail; %d nodes, %d edges", s.Mesh, s.Cluster, s.Term, s.Index, s.Voters, s.Tolerance, s.Nodes, s.Edges)
		a.note("CA hash %s", s.CAHash)
	}
	return nil
}

func yes(b bool) string {
	if b {
		return "yes"
	}
	return "no"
}

func clip(s string, n int) string { return s[:min(n, len(s))] }
