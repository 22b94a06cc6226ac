// Package golang holds no code of the product: its test is the matrix's suite of the official Go SDKs,
// as node/ and python/ are those of their languages. Without CAUSEWAY_CLIENTS, which the matrix
// program sets, it skips itself.
package golang
