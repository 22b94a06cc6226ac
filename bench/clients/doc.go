// Package clients holds no code of the product: its tests run the official SDKs of OpenAI, Anthropic
// and Google against `causeway dev`, with nothing changed but the base URL and the key.
//
// It is a module of its own, so that the product never depends on an SDK. CAUSEWAY_BIN names a
// binary that is built already; without it TestMain builds one from the repository's root.
package clients
