# Runs a command, or a shell, in the host container; this directory is the project. `gigogne nest` in plain sight.
#   run_host.ps1 [-e NAME]... [-i] [COMMAND...]
#     -e NAME   pass this variable of the shell: by its name, so that no value stands on a command line
#     -i        with an engine of its own inside (privileged), not with this machine's
# No `param`: PowerShell would take words of the command, as -d and -v, for parameters of this script.
$ErrorActionPreference = 'Stop'

$image = 'python-dind:3.12-slim'
$names = @('COMPOSE_PROJECT_NAME')
$inside = $false
$command = @($args)
while ($command.Count -and $command[0] -cin '-e', '-i') {
    if ($command[0] -ceq '-i') {
        $inside = $true
        $command = @($command | Select-Object -Skip 1)
    } else {
        $names += $command[1]
        $command = @($command | Select-Object -Skip 2)
    }
}

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
if ($inside) {
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

docker @words @command
exit $LASTEXITCODE
