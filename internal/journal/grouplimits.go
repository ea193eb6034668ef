package journal

import (
	"fmt"
	"strings"
	"unicode/utf8"
)

// CheckGroup checks what SetGroup is given, for engines. Errors: ErrLimit.
func CheckGroup(name string, definition []byte, reset *GroupReset) error {
	if err := checkName("name", name, MaxGroupName); err != nil {
		return err
	}
	if len(definition) > MaxDefinition {
		return fmt.Errorf("%w: the definition has %d bytes, more than %d", ErrLimit, len(definition), MaxDefinition)
	}
	if reset != nil {
		return checkState(reset.State)
	}
	return nil
}

// CheckMember checks what Join is given, for engines. Errors: ErrLimit.
func CheckMember(id string, note []byte) error {
	if len(note) > MaxMemberNote {
		return fmt.Errorf("%w: the member's note has %d bytes, more than %d", ErrLimit, len(note), MaxMemberNote)
	}
	return checkName("member's id", id, MaxMemberID)
}

// CheckShares checks that indexes are those of shares, for engines.
func CheckShares(indexes []int) error {
	for _, n := range indexes {
		if n < 0 || n >= GroupShares {
			return fmt.Errorf("journal: there is no share %d", n)
		}
	}
	return nil
}

// CheckChanges checks what SaveShares is given, for engines. Errors: ErrLimit, and those of indexes that no share has, or that come twice.
func CheckChanges(changes []ShareChange) error {
	var seen [GroupShares]bool
	for _, c := range changes {
		if err := CheckShares([]int{c.Index}); err != nil {
			return err
		}
		if seen[c.Index] {
			return fmt.Errorf("journal: two changes of share %d", c.Index)
		}
		seen[c.Index] = true
		if err := checkState(c.State); err != nil {
			return err
		}
	}
	return nil
}

func checkState(state []byte) error {
	if len(state) > MaxShareState {
		return fmt.Errorf("%w: the state of a share has %d bytes, more than %d", ErrLimit, len(state), MaxShareState)
	}
	return nil
}

func checkName(what, name string, limit int) error {
	switch {
	case name == "" || strings.ContainsRune(name, 0) || !utf8.ValidString(name):
		return fmt.Errorf("%w: the %s is empty, has a NUL, or is not UTF-8", ErrLimit, what)
	case len(name) > limit:
		return fmt.Errorf("%w: the %s has %d bytes, more than %d", ErrLimit, what, len(name), limit)
	}
	return nil
}
