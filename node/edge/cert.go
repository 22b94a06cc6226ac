package edge

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"sync/atomic"
	"time"

	"github.com/rs/zerolog"
)

const certPoll = 10 * time.Second

// Certificate is the client API's certificate: from files that are read again when they change, or
// self-signed and kept in the data directory so that its fingerprint stays the same.
type Certificate struct {
	certFile, keyFile string
	current           atomic.Pointer[tls.Certificate]
	stamp             string
	log               zerolog.Logger
}

// LoadCertificate reads a PEM chain and key.
func LoadCertificate(certFile, keyFile string, log zerolog.Logger) (*Certificate, error) {
	c := &Certificate{certFile: certFile, keyFile: keyFile, log: log}
	if err := c.reload(); err != nil {
		return nil, err
	}
	return c, nil
}

// SelfSigned makes a certificate for the names in dir, or loads the one made before.
func SelfSigned(dir string, names []string, log zerolog.Logger) (*Certificate, error) {
	certFile, keyFile := filepath.Join(dir, "client-api.pem"), filepath.Join(dir, "client-api.key")
	if _, err := os.Stat(keyFile); errors.Is(err, os.ErrNotExist) {
		if err := writeSelfSigned(certFile, keyFile, names, time.Now()); err != nil {
			return nil, fmt.Errorf("make self-signed certificate: %w", err)
		}
	}
	return LoadCertificate(certFile, keyFile, log)
}

func writeSelfSigned(certFile, keyFile string, names []string, now time.Time) error {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return err
	}
	serial, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 120))
	if err != nil {
		return err
	}
	t := &x509.Certificate{
		SerialNumber: serial, Subject: pkix.Name{CommonName: "causeway edge"}, NotBefore: now.Add(-time.Hour), NotAfter: now.AddDate(10, 0, 0),
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}, BasicConstraintsValid: true,
	}
	for _, n := range append(names, "localhost", "127.0.0.1", "::1") {
		if ip := net.ParseIP(n); ip != nil {
			t.IPAddresses = append(t.IPAddresses, ip)
		} else if n != "" {
			t.DNSNames = append(t.DNSNames, n)
		}
	}
	der, err := x509.CreateCertificate(rand.Reader, t, t, key.Public(), key)
	if err != nil {
		return err
	}
	pkcs8, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return err
	}
	if err := os.WriteFile(certFile, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), 0o644); err != nil {
		return err
	}
	return os.WriteFile(keyFile, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: pkcs8}), 0o600)
}

// NotAfter is when the certificate in use runs out.
func (c *Certificate) NotAfter() time.Time { return c.current.Load().Leaf.NotAfter }

// TLS is the server's configuration. minimum is tls.VersionTLS13 or, on request, tls.VersionTLS12.
func (c *Certificate) TLS(minimum uint16) *tls.Config {
	return &tls.Config{
		MinVersion:     minimum,
		GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return c.current.Load(), nil },
	}
}

// Run watches the files until ctx ends. A pair that does not fit is reported and the former stays.
func (c *Certificate) Run(ctx context.Context) error {
	tick := time.NewTicker(certPoll)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
			if err := c.reload(); err != nil {
				c.log.Error().Err(err).Msg("client certificate not reloaded; the former one stays in use")
			}
		}
	}
}

func (c *Certificate) reload() error {
	stamp := fileStamp(c.certFile) + fileStamp(c.keyFile)
	if stamp == c.stamp && c.current.Load() != nil {
		return nil
	}
	pair, err := tls.LoadX509KeyPair(c.certFile, c.keyFile)
	if err != nil {
		return fmt.Errorf("load client certificate %s: %w", c.certFile, err)
	}
	if c.current.Swap(&pair) != nil {
		c.log.Info().Time("not_after", pair.Leaf.NotAfter).Msg("client certificate reloaded")
	}
	c.stamp = stamp
	return nil
}

func fileStamp(path string) string {
	fi, err := os.Stat(path)
	if err != nil {
		return "?"
	}
	return fmt.Sprintf("%d.%d;", fi.ModTime().UnixNano(), fi.Size())
}
