package vendorjson

import "fmt"

func (e *Error) Error() string {
	return fmt.Sprintf("%s %s (at byte %d)", e.Path, e.Problem, e.Offset)
}
