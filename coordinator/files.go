package coordinator

import (
	"context"
	"crypto/rand"
	"crypto/x509"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/causeway-mesh/causeway/coordinator/api"
	"github.com/causeway-mesh/causeway/coordinator/ca"
	"github.com/causeway-mesh/causeway/coordinator/command"
	"github.com/causeway-mesh/causeway/coordinator/seal"
	"github.com/causeway-mesh/causeway/mesh/identity"
)

// Files of a data directory. cluster.json is written last: with it the directory belongs to a cluster.
const (
	clusterFile = "cluster.json"
	kekFile     = "kek"
	caFile      = "ca.pem"
	caKeyFile   = "ca.key.sealed"
	pepperFile  = "pepper.sealed"
	grantsFile  = "tokens.json"
	adminFile   = "admin.token"
	identityDir = "identity"
	raftDir     = "raft"
)

// belongs is cluster.json: which cluster a data directory is part of.
type belongs struct {
	Mesh    string   `json:"mesh"`
	Cluster string   `json:"cluster"`
	Node    string   `json:"node"`
	Region  string   `json:"region"`
	CAHash  string   `json:"ca_hash"`
	Servers []string `json:"servers,omitempty"` // where it joined
	Started bool     `json:"started,omitempty"` // its Raft log exists from now on
}

// material is everything that a coordinator holds outside Raft.
type material struct {
	belongs
	vault    api.Vault
	identity *identity.Store
	grants   []api.Grant
	admin    string       // the token, on the coordinator that made the cluster
	genesis  command.Init // what the cluster begins with, until it is in Raft
}

// open loads what dir holds, or makes it by cfg.Init or cfg.Join. addr is where nodes will reach this
// coordinator.
func open(ctx context.Context, cfg Config, addr string) (*material, error) {
	path := filepath.Join(cfg.Dir, clusterFile)
	data, err := os.ReadFile(path)
	switch {
	case err == nil:
		return load(cfg, data)
	case !errors.Is(err, fs.ErrNotExist):
		return nil, fmt.Errorf("read data directory: %w", err)
	}
	if _, err := os.Stat(filepath.Join(cfg.Dir, raftDir)); err == nil {
		return nil, fmt.Errorf("data directory %s has a Raft log but no %s: it is damaged or was copied in part; restore the file or use an empty directory", cfg.Dir, clusterFile)
	}
	if !cfg.Init && cfg.Join == nil {
		return nil, fmt.Errorf("data directory %s holds no cluster: make one with `causeway coordinator run --init`, or enter one with `causeway coordinator join`", cfg.Dir)
	}
	if err := os.MkdirAll(cfg.Dir, 0o700); err != nil {
		return nil, fmt.Errorf("make data directory: %w", err)
	}
	if cfg.Init {
		return create(cfg)
	}
	return enter(ctx, cfg, addr)
}

func load(cfg Config, data []byte) (*material, error) {
	m := new(material)
	if err := json.Unmarshal(data, &m.belongs); err != nil || m.Cluster == "" {
		return nil, fmt.Errorf("data directory %s: %s is damaged", cfg.Dir, clusterFile)
	}
	if cfg.Join != nil {
		token, err := identity.ParseJoinToken(cfg.Join.Token)
		if err != nil {
			return nil, err
		}
		if hash := hex.EncodeToString(token.CAHash[:]); hash != m.CAHash {
			return nil, fmt.Errorf("data directory %s belongs to another cluster (mesh %s, CA %s; the join token is for CA %s): use an empty directory",
				cfg.Dir, m.Mesh, short(m.CAHash), short(hash))
		}
	}
	if cfg.Init && cfg.Mesh != m.Mesh {
		return nil, fmt.Errorf("data directory %s belongs to another cluster (mesh %s, not %s): use an empty directory", cfg.Dir, m.Mesh, cfg.Mesh)
	}
	if cfg.ID != "" && cfg.ID != m.Node {
		return nil, fmt.Errorf("data directory %s belongs to coordinator %s, not %s: use that one's own directory", cfg.Dir, m.Node, cfg.ID)
	}
	if _, err := os.Stat(filepath.Join(cfg.Dir, raftDir)); m.Started && cfg.Store == nil && err != nil {
		// Starting without it would forget votes that were given: the cluster could split.
		return nil, fmt.Errorf("data directory %s has lost its Raft log: restore it, or remove member %s and join again from an empty directory", cfg.Dir, m.Node)
	}
	kek, err := readSecret(filepath.Join(cfg.Dir, kekFile))
	if err != nil {
		return nil, err
	}
	certPEM, err := os.ReadFile(filepath.Join(cfg.Dir, caFile))
	if err != nil {
		return nil, fmt.Errorf("read CA: %w", err)
	}
	sealedKey, err := os.ReadFile(filepath.Join(cfg.Dir, caKeyFile))
	if err != nil {
		return nil, fmt.Errorf("read CA key: %w", err)
	}
	if m.vault, err = openVault(kek, certPEM, sealedKey); err != nil {
		return nil, fmt.Errorf("data directory %s: %w", cfg.Dir, err)
	}
	if hash := caHash(m.vault.Authority); hash != m.CAHash {
		return nil, fmt.Errorf("data directory %s: %s is of another cluster (CA %s, not %s)", cfg.Dir, caFile, short(hash), short(m.CAHash))
	}
	grants, err := readSecret(filepath.Join(cfg.Dir, grantsFile))
	if err != nil {
		return nil, err
	}
	if err := json.Unmarshal(grants, &m.grants); err != nil {
		return nil, fmt.Errorf("data directory %s: %s is damaged", cfg.Dir, grantsFile)
	}
	if admin, err := readSecret(filepath.Join(cfg.Dir, adminFile)); err == nil {
		m.admin = strings.TrimSpace(string(admin))
	}
	if pepper, err := os.ReadFile(filepath.Join(cfg.Dir, pepperFile)); err == nil {
		m.genesis = command.Init{Mesh: m.Mesh, Cluster: m.Cluster, CACert: certPEM, SealedCAKey: sealedKey, SealedPepper: pepper}
	}
	// An identity that is missing or expired is no obstacle: a coordinator can issue its own.
	if m.identity, err = identity.Load(filepath.Join(cfg.Dir, identityDir)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	return m, nil
}

// create makes a new cluster: CA, keys and the first admin token.
func create(cfg Config) (*material, error) {
	now := time.Now()
	authority, err := ca.New(cfg.Mesh, now)
	if err != nil {
		return nil, err
	}
	keyPEM, err := authority.KeyPEM()
	if err != nil {
		return nil, err
	}
	kek := seal.NewKEK()
	sealer, err := seal.New(kek)
	if err != nil {
		return nil, err
	}
	m := &material{
		belongs: belongs{Mesh: cfg.Mesh, Cluster: random(8), Node: cfg.ID, Region: cfg.Region, CAHash: caHash(authority)},
		vault:   api.Vault{KEK: kek, Sealer: sealer, Authority: authority},
		admin:   "cwa_" + random(24),
	}
	if m.Node == "" {
		m.Node = "coordinator-" + random(3)
	}
	m.genesis = command.Init{
		Mesh: m.Mesh, Cluster: m.Cluster, CACert: authority.CertPEM(), SealedCAKey: sealer.Seal([]byte(api.PlaceCAKey), keyPEM),
		SealedPepper: sealer.Seal([]byte(api.PlacePepper), seal.NewKEK()),
	}
	m.grants = []api.Grant{api.NewGrant("admin", api.RoleAdmin, "", m.admin)}
	if err := m.save(cfg.Dir); err != nil {
		return nil, err
	}
	return m, nil
}

// enter joins an existing cluster with a token.
func enter(ctx context.Context, cfg Config, addr string) (*material, error) {
	got, err := api.Join(ctx, api.JoinConfig{Servers: cfg.Join.Servers, Token: cfg.Join.Token, Node: cfg.ID, Addr: addr, Build: cfg.Build, Dial: cfg.Dial})
	if err != nil {
		return nil, fmt.Errorf("coordinator: %w", err)
	}
	if got.Coordinator == nil {
		return nil, fmt.Errorf("coordinator: the token admits the roles %s; make one with `causeway node token --role coordinator`", got.Roles)
	}
	certPEM := identity.EncodeCertificates(got.Identity.Roots())
	vault, err := openVault(got.Coordinator.KEK, certPEM, got.Coordinator.SealedCAKey)
	if err != nil {
		return nil, fmt.Errorf("coordinator: %w", err)
	}
	m := &material{
		belongs: belongs{
			Mesh: got.Mesh, Cluster: got.Cluster, Node: got.Node, Region: got.Region, CAHash: caHash(vault.Authority), Servers: cfg.Join.Servers,
		},
		vault: vault, identity: got.Identity, grants: got.Coordinator.Grants,
		genesis: command.Init{CACert: certPEM, SealedCAKey: got.Coordinator.SealedCAKey},
	}
	if err := m.save(cfg.Dir); err != nil {
		return nil, err
	}
	m.genesis = command.Init{}
	return m, nil
}

func openVault(kek, certPEM, sealedKey []byte) (api.Vault, error) {
	sealer, err := seal.New(kek)
	if err != nil {
		return api.Vault{}, err
	}
	keyPEM, err := sealer.Open([]byte(api.PlaceCAKey), sealedKey)
	if err != nil {
		return api.Vault{}, fmt.Errorf("the key in the file %s does not open the CA key: %w", kekFile, err)
	}
	authority, err := ca.Load(certPEM, keyPEM)
	if err != nil {
		return api.Vault{}, err
	}
	return api.Vault{KEK: kek, Sealer: sealer, Authority: authority}, nil
}

// started notes that the Raft log exists.
func (m *material) started(dir string) error {
	if m.Started {
		return nil
	}
	m.Started = true
	marker, err := json.MarshalIndent(m.belongs, "", "  ")
	if err != nil {
		return fmt.Errorf("write data directory: %w", err)
	}
	if err := writeFile(filepath.Join(dir, clusterFile), append(marker, '\n'), 0o600); err != nil {
		return fmt.Errorf("write data directory: %w", err)
	}
	return nil
}

// save writes a new member's files, the marker last.
func (m *material) save(dir string) error {
	grants, err := json.Marshal(m.grants)
	if err != nil {
		return fmt.Errorf("write data directory: %w", err)
	}
	marker, err := json.MarshalIndent(m.belongs, "", "  ")
	if err != nil {
		return fmt.Errorf("write data directory: %w", err)
	}
	if m.identity != nil {
		if err := m.identity.Save(filepath.Join(dir, identityDir)); err != nil {
			return err
		}
	}
	for _, f := range []struct {
		name string
		mode os.FileMode
		data []byte
	}{
		{kekFile, 0o600, m.vault.KEK},
		{caFile, 0o644, m.genesis.CACert},
		{caKeyFile, 0o600, m.genesis.SealedCAKey},
		{pepperFile, 0o600, m.genesis.SealedPepper},
		{grantsFile, 0o600, grants},
		{adminFile, 0o600, []byte(m.admin)},
		{clusterFile, 0o600, append(marker, '\n')},
	} {
		if len(f.data) == 0 {
			continue
		}
		if err := writeFile(filepath.Join(dir, f.name), f.data, f.mode); err != nil {
			return fmt.Errorf("write data directory: %w", err)
		}
	}
	return nil
}

// certify gives the coordinator a certificate of its own making when it has none that lasts.
func (m *material) certify(dir string, hosts []string, now time.Time) (bool, error) {
	if m.identity != nil {
		leaf := m.identity.Chain()[0]
		if life := leaf.NotAfter.Sub(leaf.NotBefore); leaf.NotAfter.Sub(now) > life*2/3 && covers(leaf, hosts) {
			return false, nil
		}
	}
	key, err := identity.NewKey()
	if err != nil {
		return false, fmt.Errorf("make coordinator key: %w", err)
	}
	csr, err := identity.CSR(key)
	if err != nil {
		return false, err
	}
	peer := identity.Peer{Mesh: m.Mesh, Region: m.Region, Node: identity.NodeID(m.Node), Roles: identity.RoleCoordinator}
	chain, err := m.vault.Authority.IssueServer(csr, peer, hosts, now, ca.NodeTTL)
	if err != nil {
		return false, err
	}
	if m.identity == nil {
		m.identity, err = identity.NewStore(key, chain, m.vault.Authority.Roots())
	} else {
		err = m.identity.Update(key, chain, m.vault.Authority.Roots())
	}
	if err != nil {
		return false, err
	}
	return true, m.identity.Save(filepath.Join(dir, identityDir))
}

func covers(leaf *x509.Certificate, hosts []string) bool {
	for _, h := range hosts {
		if leaf.VerifyHostname(h) != nil {
			return false
		}
	}
	return true
}

func caHash(a *ca.Authority) string {
	sum := identity.SPKIHash(a.Roots()[0])
	return hex.EncodeToString(sum[:])
}

func short(hash string) string { return hash[:min(12, len(hash))] }

func random(n int) string {
	b := make([]byte, n)
	rand.Read(b)
	return hex.EncodeToString(b)
}

// readSecret reads a file that only its owner may read.
func readSecret(path string) ([]byte, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, fmt.Errorf("read secret file: %w", err)
	}
	if info.Mode().Perm()&0o077 != 0 {
		return nil, fmt.Errorf("%s is readable by others (mode %04o): chmod 600 it", path, info.Mode().Perm())
	}
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("read secret file: %w", err)
	}
	return data, nil
}

// writeFile replaces a file atomically and durably.
func writeFile(path string, data []byte, mode os.FileMode) error {
	f, err := os.CreateTemp(filepath.Dir(path), ".new-*")
	if err != nil {
		return err
	}
	defer os.Remove(f.Name())
	_, err = f.Write(data)
	err = errors.Join(err, f.Chmod(mode), f.Sync(), f.Close())
	if err != nil {
		return err
	}
	return os.Rename(f.Name(), path)
}
