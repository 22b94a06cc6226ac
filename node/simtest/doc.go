// Package simtest runs whole meshes in virtual time: coordinators, edges, exits and providers in one
// testing/synctest bubble, joined by an in-memory network with latency, loss, rates and partitions.
// It opens no socket and exports nothing: the scenarios are its tests.
//
// A bubble's clock moves only when everything in it waits, so a test may say exactly how long a
// request takes, and a day of outage costs seconds. The bubble also fails a test that leaves a
// goroutine behind, so every scenario checks that nodes stop completely.
package simtest
