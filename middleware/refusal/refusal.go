// Package refusal tells tools that this server has nothing for them, each in its own protocol, so that the tool ends at once
// and its user reads why.
package refusal

import (
	"path"
	"slices"
	"strings"
)

// Tool is the kind of program that asks for a command or a subsystem.
type Tool int

// The kinds.
const (
	Command Tool = iota // any other command or subsystem
	Files               // rsync and its like, which show stderr
	SCP                 // reads lines; see [SCPError]
	Git                 // reads packets; see [GitError]
	SFTP                // reads messages; see [ServeSFTP]
)

// ToolOf returns the kind of tool that runs a command, given as its words, or asks for a subsystem, which may be empty.
func ToolOf(command []string, subsystem string) Tool {
	if subsystem == "sftp" {
		return SFTP
	}
	if len(command) == 0 {
		return Command
	}
	name := path.Base(command[0])
	if name == "git" && len(command) > 1 {
		name = "git-" + command[1]
	}
	switch {
	case slices.Contains([]string{"git-upload-pack", "git-receive-pack", "git-upload-archive"}, name):
		return Git
	case name == "sftp-server":
		return SFTP
	case name == "scp":
		return SCP
	case slices.Contains([]string{"rsync", "rdiff-backup", "unison", "borg"}, name):
		return Files
	}
	return Command
}

// Sentence returns what the tool's user reads, without a line end.
func (t Tool) Sentence() string {
	no := map[Tool]string{
		Command: "runs no commands and transfers no files", Files: "transfers no files", SCP: "transfers no files", SFTP: "transfers no files",
		Git: "serves no repositories",
	}
	return "You are logged in, but this server " + no[t] + "."
}

// brief returns the first bytes of text, limit at most, in whole lines if possible and without the last line end.
func brief(text string, limit int) string {
	if len(text) > limit {
		text = strings.ToValidUTF8(text[:limit], "")
		if end := strings.LastIndexByte(text, '\n'); end > 0 {
			text = text[:end]
		}
	}
	return strings.TrimRight(text, "\r\n")
}
