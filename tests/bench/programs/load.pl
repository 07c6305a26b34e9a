# load.pl WORK FILE MIB: reads or writes a file and says how many bytes it was, and in how many seconds.
# WORK is write or read (1 MiB at a time), small-write (4 KiB, one after another), random-write or random-read (4 KiB).
# What is written counts when fsync has come back.
use strict;
use warnings;
use Fcntl;
use IO::Handle;

# Not every perl has Time::HiRes.
sub now { qx(date +%s.%N) + 0 }

my ($work, $path, $mib) = @ARGV;
my $size   = $mib << 20;
my $block  = $work =~ /small|random/ ? 4096 : 1 << 20;
my $writes = $work =~ /write/;
my $random = $work =~ /random/;
my $count  = $random ? 4096 : $size / $block;
my $bytes  = join '', map { chr int rand 256 } 1 .. $block;
my $flags  = !$writes ? O_RDONLY : $random ? O_WRONLY : O_WRONLY | O_CREAT | O_TRUNC;
srand 7;
my @places = map { $random ? 4096 * int rand($size / 4096) : $_ * $block } 0 .. $count - 1;

my $began = now();
sysopen my $file, $path, $flags or die "$path: $!\n";
for my $place (@places) {
    sysseek $file, $place, 0 if $random;
    my $done = $writes ? syswrite $file, $bytes, $block : sysread $file, $bytes, $block;
    die "$path: " . ($done // $!) . "\n" unless defined $done && $done == $block;
}
if ($writes) { $file->sync or die "$path: $!\n" }
close $file or die "$path: $!\n";
printf "%d %.6f\n", $count * $block, now() - $began;
