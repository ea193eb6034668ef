package main

import (
	"regexp"
	"strings"
	"testing"

	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"

	eventv1 "github.com/webhook-bridge/bridge/gen/bridge/event/v1"
	"github.com/webhook-bridge/bridge/internal/mask"
)

// telling are words in names of fields whose values tell of a natural person, wherever they turn up.
var telling = regexp.MustCompile(`(^|_)(e?mails?|(tele)?phones?|mobile|fax|birth(date|day)?|born|gender|sex|` +
	`(first|last|given|family|middle|full|customer|cashier|employee)_?names?|surname|honorific|street|house_number|post(al)?(_?code)?|zip|city|` +
	`address(es)?[0-9]?|iban|bank_account|account_number|card_number|passport|ssn|nip|tax_(id|number)|vat_(id|number)|cashier|creator|created_by|` +
	`notes?|comments?|remarks?)$`)

// TestPersonalFieldsAreMarked: in every message that a connector declares, and in the canonical event, a field whose name
// says that it is about a person is marked personal. It knows names only: what else is personal is for review to find.
func TestPersonalFieldsAreMarked(t *testing.T) {
	seen := make(map[protoreflect.FullName]bool)
	for _, root := range append(vendorMessages(), new(eventv1.Event).ProtoReflect().Descriptor()) {
		checkMarks(t, root, seen)
	}
	if len(seen) < 40 {
		t.Errorf("looked at %d messages only", len(seen))
	}
}

// vendorMessages are the events of all connectors in this program.
func vendorMessages() []protoreflect.MessageDescriptor {
	var messages []protoreflect.MessageDescriptor
	protoregistry.GlobalFiles.RangeFiles(func(file protoreflect.FileDescriptor) bool {
		if !strings.HasPrefix(string(file.Package()), "webhooks.") {
			return true
		}
		for i := range file.Services().Len() {
			methods := file.Services().Get(i).Methods()
			for j := range methods.Len() {
				messages = append(messages, methods.Get(j).Input())
			}
		}
		return true
	})
	return messages
}

// checkMarks looks at what of a message is shown: below a personal field nothing is.
func checkMarks(t *testing.T, md protoreflect.MessageDescriptor, seen map[protoreflect.FullName]bool) {
	t.Helper()
	if seen[md.FullName()] {
		return
	}
	seen[md.FullName()] = true
	for i := range md.Fields().Len() {
		fd := md.Fields().Get(i)
		switch {
		case mask.Personal(fd):
		case fd.Message() != nil:
			checkMarks(t, fd.Message(), seen)
		case telling.MatchString(string(fd.Name())):
			t.Errorf("%s sounds personal and is not marked so", fd.FullName())
		}
	}
}
