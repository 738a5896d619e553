# Runs a command, or a shell, in the host container; this directory is the project. `gigogne nest` in plain sight.
#   run_host.ps1 [-Name NAME,NAME...] [-Inside] [COMMAND...]
#     -Name     pass these variables of the shell: by their names, so that no value stands on a command line
#     -Inside   with an engine of its own inside (privileged), not with this machine's
param([string[]] $Name = @(), [switch] $Inside, [Parameter(ValueFromRemainingArguments)] [string[]] $Command = @())
$ErrorActionPreference = 'Stop'

$image = 'python-dind:3.12-slim'
$names = @('COMPOSE_PROJECT_NAME') + $Name

# Files are to be the caller's own. Docker Desktop sees to that itself.
$user = '0:0'
if ($IsLinux) {
    $user = "$(id -u):$(id -g)"
}

# The words of `docker run`, in their order.
$words = @('run', '--rm', '--interactive', '--volume', "${PWD}:/home/hosted")
if (-not [Console]::IsInputRedirected) {
    $words += '--tty'
}
foreach ($each in $names) {
    $words += '--env', $each
}
if ($Inside) {
    $storage = (Split-Path -Leaf $PWD) + '_nest-docker'
    $words += '--privileged', '--volume', "${storage}:/var/lib/docker", '--env', "NEST_USER=$user"
    $words += "$image-inside"
} else {
    $socket = '/var/run/docker.sock'
    if ($IsLinux -and $env:DOCKER_HOST) {
        $socket = $env:DOCKER_HOST -replace '^unix://', ''
    }
    $words += '--network', 'host', '--user', $user, '--volume', "${socket}:/var/run/docker.sock"
    if ($IsLinux) {
        $words += '--group-add', (stat -c %g $socket)
    }
    $words += $image
}

docker @words @Command
exit $LASTEXITCODE
