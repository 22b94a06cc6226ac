package main

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"

	"github.com/causeway-mesh/causeway/bench/clients/internal/dev"
)

// seeds runs the seed article's samples as a person would: with the variables of `causeway env`.
func seeds(ctx context.Context, mesh *dev.Mesh) error {
	python, err := filepath.Abs(filepath.Join("python", ".venv", "current", "bin", "python"))
	if err != nil {
		return err
	}
	samples, err := filepath.Glob("seed/*.py")
	if err != nil {
		return err
	}
	env := slices.DeleteFunc(os.Environ(), dev.VendorVariable)
	for _, name := range []string{"openai", "anthropic", "gemini"} {
		vars, err := mesh.Env(ctx, name)
		if err != nil {
			return err
		}
		env = append(env, vars...)
	}
	for _, sample := range samples {
		cmd := exec.CommandContext(ctx, python, sample)
		cmd.Env = env
		out, err := cmd.CombinedOutput()
		if err != nil {
			return fmt.Errorf("%s: %w\n%s", sample, err, out)
		}
		if len(bytes.TrimSpace(out)) == 0 {
			return fmt.Errorf("%s says nothing", sample)
		}
		fmt.Printf("%s\n%s", sample, out)
	}
	return nil
}
