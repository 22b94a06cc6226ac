package identity

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"time"
)

// ServerConfig is the TLS configuration of a mesh listener (QUIC or TCP): TLS 1.3, a client certificate of this
// mesh is required, verified against the current CA bundle, revocation list and time on every handshake.
// Session tickets are off: connections inside the mesh are long-lived, and a ticket would outlive a revocation.
func (s *Store) ServerConfig(alpn ...string) *tls.Config {
	return &tls.Config{
		MinVersion:             tls.VersionTLS13,
		NextProtos:             alpn,
		ClientAuth:             tls.RequireAnyClientCert, // verified below, against roots that may change
		SessionTicketsDisabled: true,
		Time:                   s.Now,
		GetCertificate:         func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return s.certificate(false), nil },
		VerifyConnection: func(cs tls.ConnectionState) error {
			_, err := s.verify(cs.PeerCertificates, x509.ExtKeyUsageClientAuth)
			return err
		},
	}
}

// ClientConfig is the TLS configuration for dialling a node: our certificate is presented, and the server must
// be a node of this mesh, not revoked, be want (unless empty) and hold role (unless 0). Host names are not
// checked: the SPIFFE name is the identity.
func (s *Store) ClientConfig(want NodeID, role Role, alpn ...string) *tls.Config {
	return &tls.Config{
		MinVersion:             tls.VersionTLS13,
		NextProtos:             alpn,
		SessionTicketsDisabled: true,
		InsecureSkipVerify:     true, // replaced, not dropped: VerifyConnection below verifies the chain and the name
		Time:                   s.Now,
		GetClientCertificate: func(*tls.CertificateRequestInfo) (*tls.Certificate, error) {
			return s.certificate(false), nil
		},
		VerifyConnection: func(cs tls.ConnectionState) error {
			p, err := s.verify(cs.PeerCertificates, x509.ExtKeyUsageServerAuth)
			if err != nil {
				return err
			}
			if want != "" && p.Node != want {
				return fmt.Errorf("verify peer: answered as node %q, want %q", p.Node, want)
			}
			if !p.Roles.Has(role) {
				return fmt.Errorf("verify peer: node %q has roles %q, want %q", p.Node, p.Roles, role)
			}
			return nil
		},
	}
}

// HTTPServerConfig is the TLS configuration of an HTTP listener that also serves people: a client certificate
// is optional, and verified when given (see PeerFromState). The CA certificate is sent along, so that a
// joining node can pin it.
func (s *Store) HTTPServerConfig() *tls.Config {
	return &tls.Config{
		MinVersion:     tls.VersionTLS13,
		NextProtos:     []string{"h2", "http/1.1"},
		ClientAuth:     tls.RequestClientCert,
		Time:           s.Now,
		GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return s.certificate(true), nil },
		VerifyConnection: func(cs tls.ConnectionState) error {
			if len(cs.PeerCertificates) == 0 {
				return nil
			}
			_, err := s.verify(cs.PeerCertificates, x509.ExtKeyUsageClientAuth)
			return err
		},
	}
}

// PeerFromState gives the identity behind a connection made with one of the configurations of this package.
// It is false when the other side showed no certificate.
func PeerFromState(cs tls.ConnectionState) (Peer, bool) {
	if len(cs.PeerCertificates) == 0 || !cs.HandshakeComplete {
		return Peer{}, false
	}
	p, err := PeerFromCertificate(cs.PeerCertificates[0])
	return p, err == nil
}

// PinnedTLS trusts the one CA whose public key hashes to hash, which must be in the chain that the server
// presents, and requires the server to be a coordinator under it: another node of the same mesh cannot pose
// as one. It is for the first contact of a joining node; nothing is presented to the server.
func PinnedTLS(hash [32]byte) *tls.Config {
	return &tls.Config{
		MinVersion:         tls.VersionTLS13,
		InsecureSkipVerify: true, // replaced by VerifyConnection
		VerifyConnection: func(cs tls.ConnectionState) error {
			for _, c := range cs.PeerCertificates {
				if c.IsCA && SPKIHash(c) == hash {
					pool := x509.NewCertPool()
					pool.AddCert(c)
					return verifyCoordinator(cs.PeerCertificates, pool)
				}
			}
			return errors.New("verify coordinator: no certificate in its chain has the pinned CA key: wrong server, wrong token, or someone in between")
		},
	}
}

// RootsTLS trusts the given CA certificates and requires the server to be a coordinator under them. It is for
// clients without a certificate of their own, such as the CLI with --ca.
func RootsTLS(roots []*x509.Certificate) *tls.Config {
	pool := x509.NewCertPool()
	for _, c := range roots {
		pool.AddCert(c)
	}
	return &tls.Config{
		MinVersion:         tls.VersionTLS13,
		InsecureSkipVerify: true, // replaced by VerifyConnection
		VerifyConnection:   func(cs tls.ConnectionState) error { return verifyCoordinator(cs.PeerCertificates, pool) },
	}
}

func verifyCoordinator(chain []*x509.Certificate, roots *x509.CertPool) error {
	p, err := verifyChain(chain, roots, x509.ExtKeyUsageServerAuth, time.Now())
	if err != nil {
		return err
	}
	if !p.Roles.Has(RoleCoordinator) {
		return fmt.Errorf("verify coordinator: node %q has roles %q only", p.Node, p.Roles)
	}
	return nil
}

func verifyChain(chain []*x509.Certificate, roots *x509.CertPool, use x509.ExtKeyUsage, now time.Time) (Peer, error) {
	if len(chain) == 0 {
		return Peer{}, errors.New("verify peer: no certificate")
	}
	inter := x509.NewCertPool()
	for _, c := range chain[1:] {
		inter.AddCert(c)
	}
	_, err := chain[0].Verify(x509.VerifyOptions{
		Roots: roots, Intermediates: inter, CurrentTime: now, KeyUsages: []x509.ExtKeyUsage{use},
	})
	if err != nil {
		return Peer{}, fmt.Errorf("verify peer: %w", err)
	}
	return PeerFromCertificate(chain[0])
}
