"""The version, in one place for both packages."""

VERSION = "0.1.0"
