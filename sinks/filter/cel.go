package filter

import (
	"errors"
	"fmt"
	"math"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"unicode/utf8"

	"cel.dev/cel-go/cel"
	"cel.dev/cel-go/checker"
	"cel.dev/cel-go/common/types"

	eventv1 "github.com/webhook-bridge/bridge/gen/bridge/event/v1"
	"github.com/webhook-bridge/bridge/sinks"
)

// Bounds of an expression. Subscribers write expressions, and each event costs the server what they cost.
const (
	// maxExpression is the largest length of an expression, in characters: that of the schema.
	maxExpression = 4096
	// maxNodes and maxDepth bound the expression after its macros are expanded, maxRecursion the parser.
	maxNodes, maxDepth, maxRecursion = 2048, 64, 64
	// maxComprehensions is how deep `exists`, `all`, `map` and `filter` may be nested.
	maxComprehensions = 2
	// maxCost bounds one evaluation, in CEL's units, both as estimated for an event with likelyLength and likelyItems, and as
	// measured. A unit takes 100 to 500 ns, so an event takes some milliseconds at most.
	maxCost = 10_000
	// likelyLength and likelyItems are the sizes of texts and lists that the estimate assumes.
	likelyLength, likelyItems = 256, 50
	// maxProblems is how many problems of an expression are reported.
	maxProblems = 5
	// variable is the event's name in expressions.
	variable = "event"
)

// environment is what all expressions have in common. To make it takes some milliseconds.
var environment = sync.OnceValues(func() (*cel.Env, error) {
	return cel.NewEnv(
		cel.Types(&eventv1.Event{}),
		cel.Variable(variable, cel.ObjectType(string((&eventv1.Event{}).ProtoReflect().Descriptor().FullName()))),
		cel.ParserExpressionSizeLimit(maxExpression),
		cel.ParserRecursionLimit(maxRecursion),
		cel.ParserErrorRecoveryLimit(maxProblems),
		cel.ExpressionNodeLimit(maxNodes),
		cel.ExpressionNestingDepthLimit(maxDepth),
		cel.CrossTypeNumericComparisons(true),
		cel.DefaultUTCTimeZone(true),
		cel.ASTValidators(
			cel.ValidateDurationLiterals(),
			cel.ValidateTimestampLiterals(),
			regexps{},
			cel.ValidateComprehensionNestingLimit(maxComprehensions),
		),
	)
})

// expression is a compiled CEL expression. It is safe for concurrent use.
type expression struct {
	program cel.Program
	failed  *atomic.Uint64
}

// compile's errors are for the client.
func compile(text string, failed *atomic.Uint64) (*expression, error) {
	if utf8.RuneCountInString(text) > maxExpression {
		return nil, fmt.Errorf("has more than %d characters", maxExpression)
	}
	env, err := environment()
	if err != nil {
		return nil, fmt.Errorf("filter: prepare CEL: %w", err)
	}
	ast, issues := env.Compile(text)
	if err := problemsOf(issues); err != nil {
		return nil, err
	}
	if !ast.OutputType().IsExactType(cel.BoolType) {
		return nil, fmt.Errorf("gives %s, it must give bool", ast.OutputType())
	}
	cost, err := env.EstimateCost(ast, sizes{})
	if err != nil {
		return nil, fmt.Errorf("its cost cannot be estimated: %w", err)
	}
	if cost.Max > maxCost {
		return nil, fmt.Errorf("is too costly: its estimated cost is %s, the limit is %d", estimated(cost.Max), maxCost)
	}
	program, err := env.Program(ast, cel.EvalOptions(cel.OptOptimize), cel.CostLimit(maxCost))
	if err != nil {
		return nil, err
	}
	return &expression{program: program, failed: failed}, nil
}

func estimated(cost uint64) string {
	if cost == math.MaxUint64 {
		return "without a bound"
	}
	return strconv.FormatUint(cost, 10)
}

// Problem is something that is wrong with an expression.
type Problem struct {
	// Line and Column say where, counted from 1.
	Line, Column int
	Text         string
}

// ExpressionError has what is wrong with an expression that does not compile.
type ExpressionError struct{ Problems []Problem }

func (e *ExpressionError) Error() string {
	texts := make([]string, 0, len(e.Problems))
	for _, p := range e.Problems {
		texts = append(texts, fmt.Sprintf("%d:%d: %s", p.Line, p.Column, p.Text))
	}
	return strings.Join(texts, "; ")
}

// problemsOf returns what is wrong with an expression, as an [*ExpressionError] where the places are known, or nil.
func problemsOf(issues *cel.Issues) error {
	if issues.Err() == nil {
		return nil
	}
	all := issues.Errors()
	if len(all) == 0 {
		return issues.Err()
	}
	e := &ExpressionError{}
	for _, p := range all[:min(len(all), maxProblems)] {
		// Lines count from 1, columns from 0.
		e.Problems = append(e.Problems, Problem{p.Location.Line(), p.Location.Column() + 1, fmt.Sprintf("%.500s%s", p.Message, meant(p.Message))})
	}
	return e
}

func (e *expression) passes(r *sinks.Record) bool {
	passes, err := e.decide(r)
	if err != nil && e.failed != nil {
		e.failed.Add(1)
	}
	return passes
}

// decide reports whether the expression gives true. Its errors show nothing of the event.
func (e *expression) decide(r *sinks.Record) (bool, error) {
	event, err := r.Decoded()
	if err != nil {
		return false, errors.New("filter: the event cannot be decoded")
	}
	result, err := e.eval(event)
	if err != nil {
		return false, fmt.Errorf("filter: the expression fails: %s", causeOf(err))
	}
	return result == types.True, nil
}

// causes are the beginnings of CEL's messages that show nothing of an event.
var causes = []string{
	"actual cost limit exceeded", "division by zero", "modulus by zero", "index out of bounds", "no such key", "no such overload", "no such field",
	"integer overflow", "unsigned integer overflow", "double overflow", "type conversion error", "timestamp overflow", "duration overflow",
}

// causeOf returns why an evaluation failed. CEL's own message may quote the event.
func causeOf(err error) string {
	text := err.Error()
	for _, c := range causes {
		if strings.Contains(text, c) {
			return c
		}
	}
	return "it cannot be evaluated for this event"
}

func (e *expression) eval(event *eventv1.Event) (any, error) {
	result, _, err := e.program.Eval(activation{event})
	return result, err
}

// activation gives the expression its variable. A map would be made for each event.
type activation struct{ event *eventv1.Event }

// ResolveName implements [cel.Activation].
func (a activation) ResolveName(name string) (any, bool) {
	if name == variable {
		return a.event, true
	}
	return nil, false
}

// Parent implements [cel.Activation].
func (activation) Parent() cel.Activation { return nil }

// sizes estimates the sizes of an event's parts. Without it, every text and list would be estimated without a bound, and so the
// cost of all that looks at them.
type sizes struct{}

// EstimateSize implements [checker.CostEstimator].
func (sizes) EstimateSize(element checker.AstNode) *checker.SizeEstimate {
	switch element.Type().Kind() {
	case types.StringKind, types.BytesKind:
		return &checker.SizeEstimate{Min: 0, Max: likelyLength}
	case types.ListKind, types.MapKind:
		return &checker.SizeEstimate{Min: 0, Max: likelyItems}
	}
	return nil
}

// EstimateCallCost implements [checker.CostEstimator].
func (sizes) EstimateCallCost(_, _ string, _ *checker.AstNode, _ []checker.AstNode) *checker.CallEstimate {
	return nil
}
