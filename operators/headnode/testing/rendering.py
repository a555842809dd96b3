"""The configuration files of a private cluster, as text. Pure: settings in, text out."""

from __future__ import annotations

from headnode.testing.settings import CLUSTER_NAME, ClusterSettings

SLURM_COMMANDS = ("sbatch", "squeue", "sacct", "scancel", "scontrol")


def render_slurm_conf(settings: ClusterSettings) -> str:
    """Render slurm.conf. Limits and requeueing stay at Slurm's defaults, as most centres have them."""
    d = settings.directory
    memory_per_cpu = max(1, settings.size.memory_mb_per_node // settings.size.cpus_per_node)
    # Each running step reads all of /proc at each sample: with hundreds of steps, every second is too often.
    sampling_seconds = max(1, settings.size.nodes * settings.size.cpus_per_node // 32)
    if settings.options.enforce_memory:
        sampling_seconds = 1
    bound = "CommunicationParameters=NoInAddrAny,NoCtldInAddrAny\n" if settings.loopback else ""
    return f"""\
ClusterName={CLUSTER_NAME}
SlurmctldHost={settings.hostname}({settings.slurm_address})
SlurmctldPort={settings.slurmctld_port}
SlurmUser={settings.user}
SlurmdUser={settings.user}
{bound}AuthType=auth/munge
AuthInfo=socket={settings.munge_socket}
CredType=cred/munge
StateSaveLocation={d}/state
SlurmdSpoolDir={d}/spool/%n
SlurmctldPidFile={d}/run/slurmctld.own.pid
SlurmdPidFile={d}/run/slurmd.%n.own.pid
SlurmctldLogFile={d}/log/slurmctld.log
SlurmdLogFile={d}/log/slurmd.%n.log
SlurmctldDebug=info
SlurmdDebug=info
MailProg=/bin/true
ProctrackType=proctrack/linuxproc
TaskPlugin={"task/cgroup" if settings.uses_cgroups else "task/none"}
MpiDefault=none
SwitchType=switch/none
ReturnToService=2
# Virtual nodes may claim more CPUs and memory than this machine has.
SlurmdParameters=config_overrides
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU_Memory
DefMemPerCPU={memory_per_cpu}
SchedulerType=sched/backfill
SchedulerParameters=sched_interval=1,batch_sched_delay=0,bf_interval=2
KillWait=5
JobAcctGatherType=jobacct_gather/linux
JobAcctGatherFrequency={sampling_seconds}
{_render_accounting(settings)}GresTypes=gpu
{_render_options(settings)}{_render_nodes(settings)}"""


def _render_accounting(settings: ClusterSettings) -> str:
    if not settings.options.accounting:
        return "AccountingStorageType=accounting_storage/none\n"
    return f"""\
AccountingStorageType=accounting_storage/slurmdbd
AccountingStorageHost={settings.slurm_address}
AccountingStoragePort={settings.slurmdbd_port}
AccountingStoragePass={settings.munge_socket}
AccountingStorageTRES=gres/gpu
AccountingStoreFlags=job_comment
"""


def _render_options(settings: ClusterSettings) -> str:
    options = settings.options
    sampled = options.enforce_memory and not settings.uses_cgroups
    values = {
        "MinJobAge": options.min_job_age_seconds,
        "FirstJobId": options.first_job_id,
        "MaxJobId": options.max_job_id,
        "MaxArraySize": options.max_array_size,
        "MessageTimeout": options.message_timeout_seconds,
        "SlurmdTimeout": options.slurmd_timeout_seconds,
        "JobAcctGatherParams": "OverMemoryKill" if sampled else None,
        "PreemptType": "preempt/partition_prio" if options.preemption else None,
        "PreemptMode": "REQUEUE" if options.preemption else None,
    }
    return "".join(f"{name}={value}\n" for name, value in values.items() if value is not None)


def _render_nodes(settings: ClusterSettings) -> str:
    size = settings.size
    lines = []
    for name, port in zip(size.node_names, settings.slurmd_ports, strict=True):
        gres = f" Gres=gpu:{size.gpus_per_gpu_node}" if name in size.gpu_node_names else ""
        lines.append(
            f"NodeName={name} NodeHostname={settings.hostname} NodeAddr={settings.slurm_address} Port={port}"
            f" CPUs={size.cpus_per_node} RealMemory={size.memory_mb_per_node}{gres} State=UNKNOWN"
        )
    lines.append("PartitionName=batch Nodes=ALL Default=YES MaxTime=1-00:00:00 State=UP")
    if size.gpu_node_names:
        nodes = ",".join(size.gpu_node_names)
        lines.append(f"PartitionName=gpu Nodes={nodes} Default=NO MaxTime=1-00:00:00 State=UP")
    if settings.options.preemption:
        for name, tier, mode in (("preemptable", 10, "REQUEUE"), ("urgent", 20, "OFF")):
            lines.append(f"PartitionName={name} Nodes=ALL PriorityTier={tier} PreemptMode={mode} MaxTime=1-0 State=UP")
    return "\n".join(lines) + "\n"


def render_gres_conf(settings: ClusterSettings) -> str:
    """Render gres.conf. The pretend GPUs have files, so that Slurm numbers them in CUDA_VISIBLE_DEVICES."""
    last = settings.size.gpus_per_gpu_node - 1
    files = f"{settings.directory}/gpu/nvidia[0-{last}]" if last else f"{settings.directory}/gpu/nvidia0"
    return "AutoDetect=off\n" + "".join(
        f"NodeName={name} Name=gpu File={files}\n" for name in settings.size.gpu_node_names
    )


def render_cgroup_conf(settings: ClusterSettings) -> str:
    """Render cgroup.conf; Slurm reads it where jobs are held to their memory."""
    return f"""\
CgroupPlugin=cgroup/v1
CgroupMountpoint={settings.directory}/cgroup
CgroupAutomount=no
ConstrainRAMSpace={"yes" if settings.uses_cgroups else "no"}
ConstrainSwapSpace=no
MinRAMSpace=4
"""


def render_slurmdbd_conf(settings: ClusterSettings) -> str:
    """Render slurmdbd.conf. The database has no password: its socket lies in a directory of mode 0700."""
    d = settings.directory
    bound = "CommunicationParameters=NoInAddrAny\n" if settings.loopback else ""
    return f"""\
DbdHost={settings.hostname}
DbdAddr={settings.slurm_address}
DbdPort={settings.slurmdbd_port}
{bound}SlurmUser={settings.user}
AuthType=auth/munge
AuthInfo=socket={settings.munge_socket}
PidFile={d}/run/slurmdbd.own.pid
LogFile={d}/log/slurmdbd.log
DebugLevel=info
StorageType=accounting_storage/mysql
StorageUser=root
StorageLoc=slurm_acct
"""


def render_my_cnf(settings: ClusterSettings) -> str:
    """Render MariaDB's options: small, and reachable through its socket only."""
    d = settings.directory
    return f"""\
[mariadbd]
user={settings.user}
datadir={d}/mysql
tmpdir={d}/database-tmp
socket={settings.mysql_socket}
pid-file={d}/run/mariadbd.own.pid
log-error={d}/log/mariadbd.log
skip-networking
skip-name-resolve
innodb_buffer_pool_size=32M
innodb_log_file_size=16M
innodb_lock_wait_timeout=900
innodb_flush_log_at_trx_commit=2
performance_schema=OFF
"""


def render_sshd_config(settings: ClusterSettings) -> str:
    """Render sshd_config. MaxSessions and MaxStartups are sshd's defaults, written down since they matter here."""
    d = settings.directory
    return f"""\
Port {settings.ssh_port}
ListenAddress {settings.listen_address}
HostKey {d}/ssh/host_key
AuthorizedKeysFile {d}/ssh/user_key.pub
PidFile {d}/run/sshd.own.pid
AllowUsers {settings.user}
PermitRootLogin prohibit-password
PasswordAuthentication no
KbdInteractiveAuthentication no
UsePAM {"yes" if settings.use_pam else "no"}
UseDNS no
StrictModes no
PrintMotd no
PrintLastLog no
X11Forwarding no
MaxSessions 10
MaxStartups 10:30:100
LogLevel VERBOSE
SetEnv {" ".join(f"{name}={value}" for name, value in session_environment(settings).items())}
Subsystem sftp internal-sftp
"""


def session_environment(settings: ClusterSettings) -> dict[str, str]:
    """Return what a login on the cluster finds in its environment."""
    return {
        "SLURM_CONF": str(settings.slurm_conf),
        "PATH": f"{settings.directory}/bin:{settings.session_path}",
        # A home of the cluster's own: the user's start-up files would slow each command down and print.
        "HOME": f"{settings.directory}/home",
        # Where this machine has Lmod, each job's login shell would take 0.2 s to start it. This makes Debian's Lmod
        # (/etc/profile.d/lmod.sh) stay away; who wants modules starts them in the home's .bash_profile.
        "USER_IS_ROOT": "1",
        **cluster_mark(settings),
        **moved_clock(settings),
    }


def moved_clock(settings: ClusterSettings) -> dict[str, str]:
    """Give a process the cluster's clock, where that differs from this machine's."""
    if settings.faketime_library is None:
        return {}
    return {
        "LD_PRELOAD": settings.faketime_library,
        "FAKETIME": f"{settings.options.clock_offset_seconds:+d}",
        # How long something takes is measured by a clock that nobody sets.
        "FAKETIME_DONT_FAKE_MONOTONIC": "1",
    }


def cluster_mark(settings: ClusterSettings) -> dict[str, str]:
    """Mark a process as one of the cluster's, by a variable of its environment; ``stop`` ends all that carry it."""
    return {"HEADNODE_PRIVATE_CLUSTER": str(settings.directory)}


def render_wrapper(settings: ClusterSettings, name: str, program: str) -> str:
    """Render the script that notes one call of a Slurm command from an SSH session, then becomes that command."""
    return f"""\
#!/bin/sh
[ -n "$SLURM_JOB_ID" ] || printf '%s\\t%s\\t%s\\n' "$(date +%s)" {name} "$*" >>{settings.directory}/calls.log
exec {program} "$@"
"""


def render_known_host(address: str, port: int, host_key: str) -> str:
    """Render the line of a known_hosts file."""
    return f"{address if port == 22 else f'[{address}]:{port}'} {host_key}\n"  # noqa: PLR2004
