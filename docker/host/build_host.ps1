# Builds the host image, as `gigogne nest` does.
#   build_host.ps1 [outside|inside]
param([ValidateSet('outside', 'inside')] [string] $Daemon = 'outside')
$ErrorActionPreference = 'Stop'
Set-Location "$PSScriptRoot/../.."

$image = 'python-dind:3.12-slim'
if ($Daemon -eq 'inside') {
    $image = "$image-inside"
}

docker build --file docker/host/Dockerfile --target $Daemon --tag $image .
exit $LASTEXITCODE
