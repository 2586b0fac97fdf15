package main

import (
	"go/ast"
	"go/parser"
	"go/token"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// Every constructor of a layer is called in the list of layers, so that no layer is forgotten.
func TestEveryLayerIsInTheList(t *testing.T) {
	files, err := filepath.Glob("../../middleware/*.go")
	if err != nil || len(files) == 0 {
		t.Fatalf("no layers found: %v", err)
	}
	listed := calls(t, "layers.go")
	for _, file := range files {
		if strings.HasSuffix(file, "_test.go") || filepath.Base(file) == "layer.go" { // Handler makes a layer of any handler
			continue
		}
		for _, constructor := range constructors(t, file) {
			if !slices.Contains(listed, constructor) {
				t.Errorf("middleware.%s (%s) has no line in layers.go", constructor, file)
			}
		}
	}
}

// constructors returns the exported functions of a file that return a Layer.
func constructors(t *testing.T, path string) []string {
	var names []string
	for _, decl := range parse(t, path).Decls {
		fn, ok := decl.(*ast.FuncDecl)
		if !ok || fn.Recv != nil || !fn.Name.IsExported() || fn.Type.Results == nil {
			continue
		}
		if result, ok := fn.Type.Results.List[0].Type.(*ast.Ident); ok && result.Name == "Layer" {
			names = append(names, fn.Name.Name)
		}
	}
	return names
}

// calls returns the functions of package middleware that a file calls.
func calls(t *testing.T, path string) []string {
	var names []string
	ast.Inspect(parse(t, path), func(node ast.Node) bool {
		if call, ok := node.(*ast.CallExpr); ok {
			fn, ok := call.Fun.(*ast.SelectorExpr)
			if !ok {
				return true
			}
			if pkg, ok := fn.X.(*ast.Ident); ok && pkg.Name == "middleware" {
				names = append(names, fn.Sel.Name)
			}
		}
		return true
	})
	return names
}

func parse(t *testing.T, path string) *ast.File {
	t.Helper()
	file, err := parser.ParseFile(token.NewFileSet(), path, nil, 0)
	if err != nil {
		t.Fatal(err)
	}
	return file
}
