package filter

import (
	"regexp/syntax"

	"cel.dev/cel-go/cel"
	"cel.dev/cel-go/common/ast"
	"cel.dev/cel-go/common/overloads"
)

// maxRegexp bounds a regular expression, with its repetitions written out.
const maxRegexp = 1000

// regexps is a [cel.ASTValidator] that checks regular expressions. They must be literals, so that they are compiled once, and small: one of
// a few characters may stand for a program of many megabytes. The library's own validator panics at repetitions such as `a{2}`.
type regexps struct{}

// Name implements [cel.ASTValidator].
func (regexps) Name() string { return "bridge.regexps" }

// Validate implements [cel.ASTValidator].
func (regexps) Validate(_ *cel.Env, _ cel.ValidatorConfig, a *ast.AST, issues *cel.Issues) {
	for _, call := range ast.MatchDescendants(ast.NavigateAST(a), ast.FunctionMatcher(overloads.Matches)) {
		args := call.AsCall().Args()
		if len(args) == 0 {
			continue
		}
		arg := args[len(args)-1]
		if arg.Kind() != ast.LiteralKind {
			issues.ReportErrorAtID(arg.ID(), "the regular expression must be a literal")
			continue
		}
		text, _ := arg.AsLiteral().Value().(string)
		parsed, err := syntax.Parse(text, syntax.Perl)
		switch {
		case err != nil:
			issues.ReportErrorAtID(arg.ID(), "%v", err)
		case size(parsed) > maxRegexp:
			issues.ReportErrorAtID(arg.ID(), "the regular expression is too large")
		}
	}
}

// size returns the number of a regular expression's parts, with repetitions written out. The parser bounds the repetitions.
func size(re *syntax.Regexp) int {
	n := 1 + len(re.Rune)
	for _, sub := range re.Sub {
		n += size(sub)
	}
	if re.Op == syntax.OpRepeat {
		n *= max(re.Min, re.Max, 1)
	}
	return n
}
