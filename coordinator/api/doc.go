// Package api is the coordinator's admin HTTP API and its client: resources with versions,
// idempotent writes, three read consistencies, leader forwarding, and the calls by which nodes
// join, renew and watch.
package api
