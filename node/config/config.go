// Package config reads node.yaml: what one process needs to know of itself. Everything about
// tenants, providers and rules lives in the coordinator instead.
package config

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"go.yaml.in/yaml/v3"
)

// Node is node.yaml. Precedence: flags, then CAUSEWAY_* in the environment, then the file, then
// the defaults named here.
type Node struct {
	Data           string        `yaml:"data"`            // directory of identity, journal and audit log; ./.causeway/node
	Region         string        `yaml:"region"`          // informative: the region that counts is the one in Raft
	Roles          []string      `yaml:"roles"`           // edge, exit; must be among those the certificate grants; empty = all of those
	Listen         string        `yaml:"listen"`          // client API, :443
	Mesh           string        `yaml:"mesh"`            // UDP address of the mesh port, :7701
	Advertise      string        `yaml:"advertise"`       // host:port under which other nodes reach the mesh port
	Ops            string        `yaml:"ops"`             // metrics and health, 127.0.0.1:7703
	TLS            TLS           `yaml:"tls"`             // of the client API
	TrustedProxies []string      `yaml:"trusted_proxies"` // prefixes whose X-Forwarded-For and PROXY protocol are believed
	Limits         Limits        `yaml:"limits"`          //
	KeepaliveAfter time.Duration `yaml:"keepalive_after"` // 10s: silence after which a stream gets 200 and keepalives
	Drain          time.Duration `yaml:"drain"`           // 10m: how long SIGTERM waits for running streams
	Geo            Geo           `yaml:"geo"`             //
	Log            string        `yaml:"log"`             // debug | info | warn | error; info
}

// TLS is how the client API is secured.
type TLS struct {
	Mode string `yaml:"mode"` // off | self | files; self
	Cert string `yaml:"cert"` // PEM chain, reloaded when it changes
	Key  string `yaml:"key"`
	Min  string `yaml:"min"` // "1.3" | "1.2"; 1.3
}

// Limits bound what a client may send before anything is parsed.
type Limits struct {
	Body   Size `yaml:"body"`   // 64MiB
	Header Size `yaml:"header"` // 64KiB, all header fields together
}

// Geo names the operator's own databases of places. Without them the embedded country data serves.
type Geo struct {
	City      string        `yaml:"city"`    // GeoIP2/GeoLite2 City or DB-IP City, mmdb; reloaded when replaced
	Country   string        `yaml:"country"` // GeoIP2/GeoLite2 Country or DB-IP Country, mmdb
	Overrides []GeoOverride `yaml:"overrides"`
}

// GeoOverride declares where a range of addresses is.
type GeoOverride struct {
	CIDR    string `yaml:"cidr"`
	Country string `yaml:"country"`
}

// Size is a number of bytes, written 1048576, 64KiB or 64MiB.
type Size int64

// UnmarshalText reads a size.
func (s *Size) UnmarshalText(b []byte) error {
	text, unit := string(b), int64(1)
	for _, u := range [...]struct {
		suffix string
		n      int64
	}{{"KiB", 1 << 10}, {"MiB", 1 << 20}, {"GiB", 1 << 30}} {
		if t, ok := strings.CutSuffix(text, u.suffix); ok {
			text, unit = strings.TrimSpace(t), u.n
			break
		}
	}
	n, err := strconv.ParseInt(text, 10, 64)
	if err != nil || n <= 0 || n > (1<<40)/unit {
		return fmt.Errorf("%q is not a size such as 65536, 64KiB or 64MiB", b)
	}
	*s = Size(n * unit)
	return nil
}

// Default is the configuration of a node about which nothing was said.
func Default() Node {
	return Node{
		Data: "./.causeway/node", Listen: ":443", Mesh: ":7701", Ops: "127.0.0.1:7703",
		TLS: TLS{Mode: "self", Min: "1.3"}, Limits: Limits{Body: 64 << 20, Header: 64 << 10},
		KeepaliveAfter: 10 * time.Second, Drain: 10 * time.Minute, Log: "info",
	}
}

// Load reads path (none when empty) over the defaults, then the environment over that; an empty variable
// counts as unset. lookup is os.LookupEnv. Unknown fields and a second document are errors that name their line.
func Load(path string, lookup func(string) (string, bool)) (Node, error) {
	n := Default()
	if path != "" {
		b, err := os.ReadFile(path)
		if err != nil {
			return n, fmt.Errorf("read %s: %w", path, err)
		}
		dec := yaml.NewDecoder(bytes.NewReader(b))
		dec.KnownFields(true)
		if err := dec.Decode(&n); err != nil && !errors.Is(err, io.EOF) {
			return n, fmt.Errorf("%s: %w", path, err)
		}
		if err := dec.Decode(new(yaml.Node)); !errors.Is(err, io.EOF) {
			return n, fmt.Errorf("%s: holds more than one document; keep the first", path)
		}
	}
	for _, e := range [...]struct {
		name string
		to   *string
	}{
		{"CAUSEWAY_DATA", &n.Data},
		{"CAUSEWAY_REGION", &n.Region},
		{"CAUSEWAY_LISTEN", &n.Listen},
		{"CAUSEWAY_MESH", &n.Mesh},
		{"CAUSEWAY_ADVERTISE", &n.Advertise},
		{"CAUSEWAY_OPS", &n.Ops},
		{"CAUSEWAY_TLS_MODE", &n.TLS.Mode},
		{"CAUSEWAY_TLS_CERT", &n.TLS.Cert},
		{"CAUSEWAY_TLS_KEY", &n.TLS.Key},
		{"CAUSEWAY_LOG", &n.Log},
	} {
		if v, _ := lookup(e.name); v != "" {
			*e.to = v
		}
	}
	if v, _ := lookup("CAUSEWAY_ROLES"); v != "" {
		n.Roles = strings.Split(v, ",")
	}
	return n, nil
}

// Validate reports every problem at once, each naming its field and the fix.
func (n Node) Validate() error {
	var errs []error
	bad := func(format string, args ...any) { errs = append(errs, fmt.Errorf(format, args...)) }
	for _, a := range [...]struct{ field, addr string }{{"listen", n.Listen}, {"mesh", n.Mesh}, {"ops", n.Ops}, {"advertise", n.Advertise}} {
		if a.addr == "" && a.field == "advertise" {
			continue
		}
		if _, _, err := net.SplitHostPort(a.addr); err != nil {
			bad("%s: %q is not host:port", a.field, a.addr)
		}
	}
	if n.Data == "" {
		bad("data: name a directory")
	}
	for _, r := range n.Roles {
		if !slices.Contains([]string{"edge", "exit"}, r) {
			bad("roles: %q is not one of edge, exit", r)
		}
	}
	switch n.TLS.Mode {
	case "off", "self":
	case "files":
		if n.TLS.Cert == "" || n.TLS.Key == "" {
			bad("tls: mode files needs cert and key")
		}
	default:
		bad("tls.mode: %q is not one of off, self, files", n.TLS.Mode)
	}
	if n.TLS.Min != "1.3" && n.TLS.Min != "1.2" {
		bad("tls.min: %q is not 1.3 or 1.2", n.TLS.Min)
	}
	if _, err := n.Proxies(); err != nil {
		errs = append(errs, err)
	}
	for i, o := range n.Geo.Overrides {
		if _, err := netip.ParsePrefix(o.CIDR); err != nil {
			bad("geo.overrides[%d].cidr: %q is not a prefix such as 10.0.0.0/8", i, o.CIDR)
		}
	}
	if n.KeepaliveAfter <= 0 {
		bad("keepalive_after: must be positive")
	}
	if n.Drain < 0 {
		bad("drain: must not be negative")
	}
	if !slices.Contains([]string{"debug", "info", "warn", "error"}, n.Log) {
		bad("log: %q is not one of debug, info, warn, error", n.Log)
	}
	return errors.Join(errs...)
}

// Proxies parses TrustedProxies; a single address counts as its own prefix.
func (n Node) Proxies() ([]netip.Prefix, error) {
	var out []netip.Prefix
	for i, s := range n.TrustedProxies {
		if p, err := netip.ParsePrefix(s); err == nil {
			out = append(out, p.Masked())
		} else if a, err := netip.ParseAddr(s); err == nil {
			out = append(out, netip.PrefixFrom(a, a.BitLen()))
		} else {
			return nil, fmt.Errorf("trusted_proxies[%d]: %q is not an address or prefix", i, s)
		}
	}
	return out, nil
}
