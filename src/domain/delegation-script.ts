/**
 * PowerShell for the Exchange admin: makes the dedicated mailbox a delegate of exactly these calendars. It asks before it acts, does nothing twice, finds the
 * calendar folder by its id whatever it is called in the mailbox's language, reads back what it did, and logs each mailbox
 * (learn.microsoft.com: Add-MailboxFolderPermission, Set-MailboxFolderPermission, Get-EXOMailboxFolderStatistics).
 */
export interface ScriptPerson {
  name: string;
  /** An object id or an address. */
  mailbox: string;
}

/**
 * A text of the directory as a PowerShell expression that is nothing but a text. Between single quotes only the quote itself means something; control
 * characters are dropped. What is beyond ASCII is written by its number: PowerShell takes typographic quotes for quotes, and reads a file without a mark
 * by a code page in which other letters become such quotes.
 */
export function powerShellString(text: string): string {
  // biome-ignore lint/suspicious/noControlCharactersInRegex: they are what is dropped
  const plain = text.replace(/[\u0000-\u001f\u007f-\u009f\u2028\u2029]/g, ' ');
  const quoted = plain.replaceAll("'", "''");
  if (/^[\x20-\x7e]*$/.test(plain)) return `'${quoted}'`;
  const numbered = quoted
    .replaceAll('\\', '\\\\')
    .replace(/[^\x20-\x7e]/g, (unit) => `\\u${unit.charCodeAt(0).toString(16).padStart(4, '0')}`);
  return `([regex]::Unescape('${numbered}'))`;
}

export function delegationScript(people: ScriptPerson[], dedicatedMailbox: string, madeAt: Date): string {
  const rows = people.map(
    ({ name, mailbox }) =>
      `  [pscustomobject]@{ Mailbox = ${powerShellString(mailbox)}; Name = ${powerShellString(name)} }`,
  );
  return `#requires -Version 5.1
# Made by Usher at ${madeAt.toISOString()}, for ${people.length} mailboxes. Read it before you run it.
#
# It makes the dedicated mailbox a delegate (Editor, flag Delegate) of each primary calendar below. Safe to run twice: what is a delegate
# already is left alone. -WhatIf shows what would be done; -Yes does not ask. Needs the module ExchangeOnlineManagement and the role Mail Recipients.
[CmdletBinding(SupportsShouldProcess = $true)]
param(
  [string] $Delegate = ${powerShellString(dedicatedMailbox)},
  [string] $LogPath = (Join-Path -Path (Get-Location) -ChildPath ('usher-delegation-{0:yyyyMMdd-HHmmss}.csv' -f (Get-Date))),
  [switch] $Yes
)
Set-StrictMode -Version 2.0
$ErrorActionPreference = 'Stop'

$people = @(
${rows.join('\n')}
)

if (-not (Get-Module -ListAvailable -Name ExchangeOnlineManagement)) {
  throw 'The module ExchangeOnlineManagement is missing. Run: Install-Module ExchangeOnlineManagement -Scope CurrentUser'
}
if (-not (Get-Command -Name Get-EXOMailbox -ErrorAction SilentlyContinue) -or -not (Get-ConnectionInformation -ErrorAction SilentlyContinue)) {
  Connect-ExchangeOnline -ShowBanner:$false
}

$delegateMailbox = Get-EXOMailbox -Identity $Delegate
Write-Host ('{0} will become a delegate of {1} calendars.' -f $delegateMailbox.PrimarySmtpAddress, $people.Count)
if (-not $Yes -and -not $WhatIfPreference) {
  $answer = Read-Host -Prompt 'Type yes to go on'
  if ($answer -ne 'yes') {
    Write-Host 'Nothing was done.'
    return
  }
}

function Get-DelegateEntry {
  param([string] $Calendar, [string] $User)
  try {
    return @(Get-MailboxFolderPermission -Identity $Calendar -User $User -ErrorAction Stop)[0]
  }
  catch {
    return $null
  }
}

function Test-IsDelegate {
  param($Entry)
  if ($null -eq $Entry) { return $false }
  return (@($Entry.AccessRights) -contains 'Editor') -and ([string] $Entry.SharingPermissionFlags -match 'Delegate')
}

$failed = 0
foreach ($person in $people) {
  $result = 'failed'
  $detail = ''
  try {
    # The folder is called Calendar, Kalender, Calendrier ...; its type is always Calendar.
    $folder = Get-EXOMailboxFolderStatistics -Identity $person.Mailbox -FolderScope Calendar |
      Where-Object { $_.FolderType -eq 'Calendar' } | Select-Object -First 1
    if ($null -eq $folder) { throw 'The mailbox has no calendar folder.' }
    $calendar = '{0}:{1}' -f $person.Mailbox, $folder.FolderId
    $entry = Get-DelegateEntry -Calendar $calendar -User $Delegate
    if (Test-IsDelegate -Entry $entry) {
      $result = 'already'
    }
    elseif ($PSCmdlet.ShouldProcess($person.Name, 'Make ' + $Delegate + ' a delegate of the calendar')) {
      $rights = @{
        Identity = $calendar
        User = $Delegate
        AccessRights = 'Editor'
        SharingPermissionFlags = 'Delegate'
        SendNotificationToUser = $false
        Confirm = $false
      }
      if ($null -eq $entry) { Add-MailboxFolderPermission @rights | Out-Null }
      else { Set-MailboxFolderPermission @rights | Out-Null }
      # Read back: Exchange can accept a change and not keep it.
      if (-not (Test-IsDelegate -Entry (Get-DelegateEntry -Calendar $calendar -User $Delegate))) {
        throw 'Exchange accepted the change, and the calendar does not show it.'
      }
      $result = 'granted'
    }
    else {
      $result = 'skipped'
    }
  }
  catch {
    $failed++
    $detail = $_.Exception.Message
  }
  [pscustomobject]@{ At = (Get-Date).ToString('o'); Mailbox = $person.Mailbox; Name = $person.Name; Result = $result; Detail = $detail } |
    Export-Csv -Path $LogPath -Append -NoTypeInformation -Encoding UTF8 -WhatIf:$false
  Write-Host ('{0,-8} {1} {2}' -f $result, $person.Name, $detail)
}
Write-Host ('Done: {0} mailboxes, {1} failed. Log: {2}' -f $people.Count, $failed, $LogPath)
Write-Host 'Then: usher delegation check'
`;
}
