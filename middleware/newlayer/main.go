// Newlayer creates a layer. "go run ./middleware/newlayer hello" writes middleware/hello.go and its test, and adds a line
// to the list in cmd/foyer/layers.go, before the handler. The new layer compiles, passes its test and greets visitors, as
// a starting point for your own. Run the command in the top directory of the repository, as "task new NAME=hello" does.
package main

import (
	"bytes"
	"embed"
	"errors"
	"fmt"
	"go/ast"
	"go/format"
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"text/template"
)

//go:embed *.tmpl
var templates embed.FS

func main() {
	if len(os.Args) != 2 {
		fmt.Fprintln(os.Stderr, "usage: task new NAME=hello")
		os.Exit(2)
	}
	created, err := create(".", os.Args[1])
	if err != nil {
		fmt.Fprintln(os.Stderr, "error:", err)
		os.Exit(1)
	}
	fmt.Println("created", strings.Join(created, ", "))
}

// list is the file with the list of layers.
const list = "cmd/foyer/layers.go"

var goodName = regexp.MustCompile(`^[a-z][a-z0-9]{0,31}$`)

// create writes the layer name in the repository at root and returns the files that it wrote. It checks everything
// before it writes.
func create(root, name string) ([]string, error) {
	if !goodName.MatchString(name) {
		return nil, fmt.Errorf("%q is not a valid name for a layer: use one lower-case word, such as hello", name)
	}
	constructor := strings.ToUpper(name[:1]) + name[1:]
	if err := checkFree(filepath.Join(root, "middleware"), name, constructor); err != nil {
		return nil, err
	}
	listed, err := addToList(filepath.Join(root, list), constructor)
	if err != nil {
		return nil, err
	}
	files := map[string][]byte{list: listed}
	for source, target := range map[string]string{
		"layer.go.tmpl":      "middleware/" + name + ".go",
		"layer_test.go.tmpl": "middleware/" + name + "_test.go",
	} {
		if files[target], err = fill(source, name, constructor); err != nil {
			return nil, err
		}
	}
	created := []string{"middleware/" + name + ".go", "middleware/" + name + "_test.go", list}
	for _, file := range created {
		if err := os.WriteFile(filepath.Join(root, file), files[file], 0o644); err != nil {
			return nil, err
		}
	}
	return created, nil
}

// checkFree returns an error if the package in dir already has the file or the constructor.
func checkFree(dir, name, constructor string) error {
	paths, err := filepath.Glob(filepath.Join(dir, "*.go"))
	if err != nil || len(paths) == 0 {
		return errors.New("no middleware directory: run this in the top directory of the repository")
	}
	taken := regexp.MustCompile(`(?m)^((func|type|var|const) |\t)(Test)?` + constructor + `\b`)
	for _, path := range paths {
		if base := filepath.Base(path); base == name+".go" || base == name+"_test.go" {
			return fmt.Errorf("%s already exists", path)
		}
		source, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		if taken.Match(source) {
			return fmt.Errorf("%s already declares %s", path, constructor)
		}
	}
	return nil
}

// addToList returns the file at path with a line for the constructor added to its list of layers, before the handler,
// which is the last element.
func addToList(path, constructor string) ([]byte, error) {
	source, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	files := token.NewFileSet()
	file, err := parser.ParseFile(files, path, source, parser.SkipObjectResolution)
	if err != nil {
		return nil, err
	}
	last := token.NoPos
	ast.Inspect(file, func(node ast.Node) bool {
		if literal, ok := node.(*ast.CompositeLit); ok && last == token.NoPos && isList(literal) {
			last = literal.Elts[len(literal.Elts)-1].Pos()
		}
		return true
	})
	if last == token.NoPos {
		return nil, fmt.Errorf("%s has no []middleware.Layer{…}", path)
	}
	at := files.Position(last).Offset
	line := "middleware." + constructor + "(),\n"
	return format.Source(bytes.Join([][]byte{source[:at], []byte(line), source[at:]}, nil))
}

func isList(literal *ast.CompositeLit) bool {
	array, ok := literal.Type.(*ast.ArrayType)
	if !ok {
		return false
	}
	element, ok := array.Elt.(*ast.SelectorExpr)
	return ok && element.Sel.Name == "Layer" && len(literal.Elts) > 0
}

func fill(source, name, constructor string) ([]byte, error) {
	var b bytes.Buffer
	err := template.Must(template.ParseFS(templates, source)).Execute(&b, struct{ Name, Constructor string }{name, constructor})
	return b.Bytes(), err
}
