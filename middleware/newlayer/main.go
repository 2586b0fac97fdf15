// Newlayer lays down a layer: "go run ./middleware/newlayer hello" makes middleware/hello.go with its test and puts
// it last in the list of cmd/foyer/layers.go, next to the message. What it makes compiles, passes its test and can be
// seen by a visitor; then it is yours to change. Run it at the top of the repository ("task new NAME=hello" does).
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
	made, err := lay(".", os.Args[1])
	if err != nil {
		fmt.Fprintln(os.Stderr, "error:", err)
		os.Exit(1)
	}
	fmt.Println("made", strings.Join(made, ", "))
}

// list is where every layer has its line.
const list = "cmd/foyer/layers.go"

var goodName = regexp.MustCompile(`^[a-z][a-z0-9]{0,31}$`)

// lay makes the layer of that name in the repository at root and returns the files that it has written. It checks
// all before it writes anything.
func lay(root, name string) ([]string, error) {
	if !goodName.MatchString(name) {
		return nil, fmt.Errorf("%q is no name for a layer: one lower-case word, like hello", name)
	}
	constructor := strings.ToUpper(name[:1]) + name[1:]
	if err := free(filepath.Join(root, "middleware"), name, constructor); err != nil {
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
	made := []string{"middleware/" + name + ".go", "middleware/" + name + "_test.go", list}
	for _, file := range made {
		if err := os.WriteFile(filepath.Join(root, file), files[file], 0o644); err != nil {
			return nil, err
		}
	}
	return made, nil
}

// free reports an error where the package in dir has the file or the constructor already.
func free(dir, name, constructor string) error {
	paths, err := filepath.Glob(filepath.Join(dir, "*.go"))
	if err != nil || len(paths) == 0 {
		return errors.New("there is no middleware/ here: run this at the top of the repository")
	}
	taken := regexp.MustCompile(`(?m)^((func|type|var|const) |\t)(Test)?` + constructor + `\b`)
	for _, path := range paths {
		if base := filepath.Base(path); base == name+".go" || base == name+"_test.go" {
			return fmt.Errorf("%s is there already", path)
		}
		source, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		if taken.Match(source) {
			return fmt.Errorf("%s has a %s already", path, constructor)
		}
	}
	return nil
}

// addToList returns the file at path with a line for the constructor at the end of its list of layers.
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
	end := token.NoPos
	ast.Inspect(file, func(node ast.Node) bool {
		if literal, ok := node.(*ast.CompositeLit); ok && end == token.NoPos && isList(literal) {
			end = literal.Rbrace
		}
		return true
	})
	if end == token.NoPos {
		return nil, fmt.Errorf("%s has no []middleware.Layer{…}", path)
	}
	at := files.Position(end).Offset
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
