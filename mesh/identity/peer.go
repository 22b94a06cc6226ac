// Package identity says who a node is and proves it. A node holds a P-256 key and a 72 h certificate from
// the mesh's own CA; the name is a SPIFFE URI, the roles are an extension, and both sides of every
// connection inside the mesh check them. There is no shared secret and no name from DNS in it.
package identity

import (
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"errors"
	"fmt"
	"math/big"
	"net/url"
	"strings"
	"time"
)

// NodeID names a node inside its mesh: 1-63 of a-z, 0-9 and "-", beginning and ending with a letter or digit.
type NodeID string

// Role is a set of what a node may do. Its numbers are in certificates: append only.
type Role uint8

// The roles of nodes.
const (
	RoleEdge        Role = 1 << iota // takes client requests
	RoleExit                         // calls providers
	RoleRelay                        // forwards sealed packets
	RoleCoordinator                  // holds the replicated truth
	roleEnd
)

var roleNames = [...]string{"edge", "exit", "relay", "coordinator"}

// Has reports whether r holds every role of want.
func (r Role) Has(want Role) bool { return r&want == want }

// Strings lists the role names in the order of their numbers.
func (r Role) Strings() []string {
	var out []string
	for i, n := range roleNames {
		if r&(1<<i) != 0 {
			out = append(out, n)
		}
	}
	return out
}

// String joins the role names with commas.
func (r Role) String() string { return strings.Join(r.Strings(), ",") }

// ParseRole reads one or more role names joined by commas.
func ParseRole(s string) (Role, error) {
	var r Role
next:
	for _, part := range strings.Split(s, ",") {
		for i, n := range roleNames {
			if strings.TrimSpace(part) == n {
				r |= 1 << i
				continue next
			}
		}
		return 0, fmt.Errorf("parse role: %q is not one of %s", part, strings.Join(roleNames[:], ", "))
	}
	return r, nil
}

// Peer is what a certificate says about its holder.
type Peer struct {
	Mesh     string // trust domain
	Node     NodeID
	Region   string
	Roles    Role
	Serial   string // certificate serial, lower-case hex without leading zeros
	NotAfter time.Time
}

// URI is the SPIFFE name, spiffe://MESH/region/REGION/node/ID.
func (p Peer) URI() string {
	return "spiffe://" + p.Mesh + "/region/" + p.Region + "/node/" + string(p.Node)
}

// Validate checks that the names can stand in a certificate.
func (p Peer) Validate() error {
	for _, f := range [...]struct{ what, v string }{{"mesh", p.Mesh}, {"region", p.Region}, {"node", string(p.Node)}} {
		if !label(f.v) {
			return fmt.Errorf("check identity: %s %q: want 1-63 of a-z, 0-9, \"-\" (and \".\" in a mesh name)", f.what, f.v)
		}
	}
	if strings.Contains(p.Region, ".") || strings.Contains(string(p.Node), ".") {
		return errors.New("check identity: region and node take no \".\"")
	}
	if p.Roles == 0 || p.Roles >= roleEnd {
		return fmt.Errorf("check identity: roles %#x are not known", uint8(p.Roles))
	}
	return nil
}

func label(s string) bool {
	if s == "" || len(s) > 63 {
		return false
	}
	for i := range len(s) {
		c := s[i]
		alnum := c >= 'a' && c <= 'z' || c >= '0' && c <= '9'
		if !alnum && (i == 0 || i == len(s)-1 || c != '-' && c != '.') {
			return false
		}
	}
	return true
}

// RolesOID marks the extension that holds the roles: a DER INTEGER, the Role bits. It lies under
// 1.3.6.1.4.1.32473, the enterprise number that RFC 5612 keeps for documentation; the meshes are
// private, so no number of our own is needed.
func RolesOID() asn1.ObjectIdentifier {
	return asn1.ObjectIdentifier{1, 3, 6, 1, 4, 1, 32473, 7, 1}
}

// Template is the certificate a CA signs for p. The serial is p.Serial when set (hex), else 127 random bits.
// It panics when p is not valid: callers Validate what comes from outside.
func Template(p Peer, notBefore, notAfter time.Time) *x509.Certificate {
	if err := p.Validate(); err != nil {
		panic("identity.Template: " + err.Error())
	}
	serial, ok := new(big.Int).SetString(p.Serial, 16)
	if !ok || serial.Sign() <= 0 {
		var b [16]byte
		rand.Read(b[:])
		b[0] = b[0]&0x7f | 0x40 // positive, and never short
		serial = new(big.Int).SetBytes(b[:])
	}
	u, err := url.Parse(p.URI())
	if err != nil {
		panic("identity.Template: " + err.Error())
	}
	roles, err := asn1.Marshal(int(p.Roles))
	if err != nil {
		panic("identity.Template: " + err.Error())
	}
	return &x509.Certificate{
		SerialNumber:          serial,
		Subject:               pkix.Name{CommonName: string(p.Node)},
		NotBefore:             notBefore,
		NotAfter:              notAfter,
		URIs:                  []*url.URL{u},
		KeyUsage:              x509.KeyUsageDigitalSignature,
		ExtKeyUsage:           []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
		BasicConstraintsValid: true,
		ExtraExtensions:       []pkix.Extension{{Id: RolesOID(), Value: roles}},
	}
}

// PeerFromCertificate reads the identity out of a leaf certificate. It is strict: exactly one URI of exactly
// the form that Template makes, exactly one roles extension, no CA. It does not verify the signature.
func PeerFromCertificate(c *x509.Certificate) (Peer, error) {
	if c.IsCA {
		return Peer{}, errors.New("read identity: certificate is a CA, not a node")
	}
	if len(c.URIs) != 1 {
		return Peer{}, fmt.Errorf("read identity: certificate has %d URIs, want 1", len(c.URIs))
	}
	u := c.URIs[0]
	part := strings.Split(u.Path, "/")
	if u.Scheme != "spiffe" || len(part) != 5 || part[0] != "" || part[1] != "region" || part[3] != "node" {
		return Peer{}, fmt.Errorf("read identity: %q is not spiffe://MESH/region/REGION/node/ID", u.Redacted())
	}
	p := Peer{
		Mesh: u.Host, Region: part[2], Node: NodeID(part[4]),
		Serial: SerialString(c.SerialNumber), NotAfter: c.NotAfter,
	}
	if u.String() != p.URI() { // user info, port, query, fragment, escapes
		return Peer{}, fmt.Errorf("read identity: %q is not in its plain form", u.Redacted())
	}
	found := false
	for _, e := range c.Extensions {
		if !e.Id.Equal(RolesOID()) {
			continue
		}
		var n int
		rest, err := asn1.Unmarshal(e.Value, &n)
		if err != nil || len(rest) != 0 || n <= 0 || n >= int(roleEnd) || found {
			return Peer{}, errors.New("read identity: roles extension is malformed or repeated")
		}
		p.Roles, found = Role(n), true
	}
	if !found {
		return Peer{}, errors.New("read identity: certificate has no roles extension")
	}
	if err := p.Validate(); err != nil {
		return Peer{}, err
	}
	return p, nil
}

// SerialString is the form of a certificate serial in Peer, in revocation lists and in the API.
func SerialString(n *big.Int) string { return n.Text(16) }
