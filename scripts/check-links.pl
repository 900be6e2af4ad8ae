#!/usr/bin/perl
# Do the links between this repository's pages lead somewhere? Files and #anchors must exist, every page below
# docs/ must be reached from README.md, and every picture there be shown by a page. What is on the internet is not asked.
use strict;
use warnings;

my $root = shift // '.';
chdir $root or die "$root: $!\n";
my (%links, %anchors, @wrong);

sub slug {    # as GitHub makes an anchor of a heading
    my $text = lc shift;
    $text =~ s/!?\[([^\]]*)\]\([^)]*\)/$1/g;
    $text =~ s/[^\w\s-]//g;
    $text =~ s/\s/-/g;
    return $text;
}

sub scan {
    my $page = shift;
    my ($fence, %seen);
    open my $file, '<:utf8', $page or die "$page: $!\n";
    while (my $line = <$file>) {
        chomp $line;
        $fence = !$fence if $line =~ /^\s*```/;
        next if $fence || $line =~ /^(    |\t)\S/;
        if ($line =~ /^#{1,6} +(.*?)\s*$/) {
            my $slug = slug($1);
            my $count = $seen{$slug}++;
            $anchors{$page}{ $count ? "$slug-$count" : $slug } = 1;
        }
        $anchors{$page}{$1} = 1 while $line =~ /<a (?:id|name)="([^"]+)"/g;
        $line =~ s/`[^`]*`//g;
        push @{ $links{$page} }, [ $., $1 ] while $line =~ /\]\(\s*<?([^)\s>]+)/g;
        push @{ $links{$page} }, [ $., $1 ] while $line =~ /(?:src|srcset|href)="([^"]+)"/g;
        push @{ $links{$page} }, [ $., $1 ] if $line =~ /^\[[^\]]+\]:\s+(\S+)/;
    }
}

sub normal {    # a/b/../c is a/c
    my @parts;
    for my $part (split m{/}, shift) {
        next if $part eq '.' || $part eq '';
        if ($part eq '..') { return undef unless @parts; pop @parts }
        else               { push @parts, $part }
    }
    return join '/', @parts;
}

my @pages = map { chomp; s{^\./}{}r }
    `find . \\( -name '.?*' -o -name target -o -name node_modules -o -name venv \\) -prune -o -name '*.md' -print`;
scan($_) for @pages;

my (%leads_to, %shown);
for my $page (@pages) {
    my ($folder) = $page =~ m{^(.*)/[^/]*$};
    for my $link (@{ $links{$page} || [] }) {
        my ($line, $target) = @$link;
        next if $target =~ /^[a-z][a-z0-9+.-]*:/i;
        my ($path, $anchor) = $target =~ /^([^#]*)(?:#(.*))?$/;
        my $file = $path eq '' ? $page : normal(defined $folder ? "$folder/$path" : $path);
        my $where = "$page:$line: $target";
        if (!defined $file || $path =~ m{^/}) { push @wrong, "$where leads out of the repository"; next }
        if (!-e $file) { push @wrong, "$where: no such file"; next }
        if (-d $file) { $file .= '/README.md'; -e $file or next }
        $shown{$file} = $leads_to{$page}{$file} = 1;
        push @wrong, "$where: no such heading" if defined $anchor && !$anchors{$file}{$anchor};
    }
}

my (%reached, @next);
@next = ('README.md');
while (defined(my $page = shift @next)) {
    push @next, keys %{ $leads_to{$page} || {} } unless $reached{$page}++;
}
push @wrong, map { "$_ cannot be reached from README.md" } grep { m{^docs/} && !$reached{$_} } @pages;
my @pictures = map { chomp; $_ } `find docs -name '*.svg' -o -name '*.png'`;
push @wrong, map { "$_ is shown nowhere" } grep { !$shown{$_} } @pictures;

print STDERR map { "$_\n" } sort @wrong;
exit(@wrong ? 1 : 0);
