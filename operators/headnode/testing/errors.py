"""What can go wrong with a private cluster, each with what to do.

PrivateClusterError
├ SettingsError(ValueError)   this size, directory or port cannot be
├ ProgramsMissing             Debian packages to install
├ DaemonFailed                one daemon did not come up; its last lines of log
└ NotRunning                  nothing runs in that directory
"""

from __future__ import annotations

from headnode.errors import HeadnodeError


class PrivateClusterError(HeadnodeError):
    """The private cluster could not do what was asked."""


class SettingsError(PrivateClusterError, ValueError):
    """The cluster that was asked for cannot be built."""


class ProgramsMissing(PrivateClusterError):
    """Programs that the cluster is made of are not installed."""


class DaemonFailed(PrivateClusterError):
    """A daemon ended or did not answer in time."""


class NotRunning(PrivateClusterError):
    """No cluster runs in the directory."""
